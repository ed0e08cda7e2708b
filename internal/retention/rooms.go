package retention

import (
	"log/slog"
	"slices"
	"strings"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

const (
	// full and freed are shares of a stream in percent: beyond the one jobs are let go before their time, until it is at the other.
	full, freed = 80, 70
	// keptShare is the share of the stream of objects that kept files may have, in percent, see bus.KeptRoom.
	keptShare = 50
)

// rooms are the streams that jobs fill up.
type rooms struct {
	list []*room
}

// room is what one stream has for jobs, in bytes.
type room struct {
	stream, setting string
	used, limit     int64
	// short says that jobs have to go until it is freed, everShort that it was so.
	short, everShort bool
	// of is how much of it a job has at most, as far as that can be told.
	of func(*jobs.Job) int64
}

func newRooms() *rooms {
	return &rooms{list: []*room{
		{stream: "jobs", setting: "NETLAB_BUS_JOBS_BYTES", of: func(*jobs.Job) int64 { return 0 }},
		{stream: "logs", setting: "NETLAB_BUS_LOGS_BYTES", of: func(j *jobs.Job) int64 { return j.LogBytes }},
		{stream: "objects", setting: "NETLAB_BUS_OBJECTS_BYTES", of: func(j *jobs.Job) int64 {
			if j.Kept == nil {
				return 0
			}
			return j.Kept.Bytes
		}},
	}}
}

// measure takes in how full the streams are. kept is how much of the stream of objects kept files have: what else is there is of
// jobs under way.
func (r *rooms) measure(sizes []bus.StreamSize, kept int64) {
	for _, room := range r.list {
		i := slices.IndexFunc(sizes, func(s bus.StreamSize) bool { return s.Name == room.stream })
		if i < 0 {
			room.short = false // it did not answer
			continue
		}
		room.used, room.limit = int64(sizes[i].Bytes), sizes[i].LimitBytes
		if room.stream == "objects" {
			room.used, room.limit = kept, room.limit/100*keptShare
		}
		switch {
		case room.limit == 0 || room.used <= room.limit/100*freed:
			room.short = false
		case room.used > room.limit/100*full:
			room.short, room.everShort = true, true
		}
	}
}

// inTheWay is how many of the oldest jobs have to go for room.
func (r *rooms) inTheWay(oldest []view.Ended) int {
	n := 0
	for _, room := range r.list {
		if !room.short {
			continue
		}
		excess := room.used - room.limit/100*freed
		for i := 0; i < len(oldest) && excess > 0; i++ {
			excess -= room.of(&oldest[i].Job)
			n = max(n, i+1)
		}
	}
	return n
}

// warn says which streams were too small for the settings of age and number.
func (r *rooms) warn(log *slog.Logger) {
	var settings []string
	for _, room := range r.list {
		if room.everShort {
			settings = append(settings, room.setting)
		}
	}
	if len(settings) > 0 {
		log.Warn("retention: a stream fills up, jobs are let go before their time", "raise", strings.Join(settings, ", "),
			"or lower", "NETLAB_API_RETAIN_AGE, NETLAB_API_RETAIN_JOBS")
	}
}
