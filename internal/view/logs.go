package view

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// fillDelay is how long a log's last chunks may take to come by themselves before they are fetched.
const fillDelay = 500 * time.Millisecond

func (v *View) followLogs(ctx context.Context, done func()) error {
	made, err := v.bus.LogsMade(ctx)
	if err != nil {
		return err
	}
	return v.bus.FollowLogs(ctx, v.cursor.start(made), func(c *bus.Chunk) {
		err := v.append(c)
		var gap *logfile.Gap
		if errors.As(err, &gap) {
			err = v.fill(ctx, c.Host, c.Job)
		}
		if err != nil && ctx.Err() == nil {
			v.log.Error("view: log file", "job", c.Job, "error", err)
			return
		}
		v.cursor.advance(c.Seq)
	}, done)
}

func (v *View) append(c *bus.Chunk) error {
	log := v.logs.Get(c.Job)
	if err := log.Append(c.Offset, c.Text); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.jobs[c.Job]; e != nil && e.ended != nil {
		v.settle(e)
	}
	return nil
}

// fill fetches the whole log of one job from the stream; what the file has is skipped.
func (v *View) fill(ctx context.Context, host, id string) error {
	v.filling.Lock()
	defer v.filling.Unlock()
	return v.bus.ReadLog(ctx, host, id, v.append)
}

// fillEnded fetches what is missing of the logs of ended jobs, unless it comes by itself.
func (v *View) fillEnded(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.ended:
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(fillDelay):
			}
			missing, left := v.missing(time.Now())
			for _, job := range missing {
				if err := v.fill(ctx, job.Host, job.ID); err != nil && ctx.Err() == nil {
					v.log.Warn("view: log of an ended job", "job", job.ID, "error", err)
				}
			}
			if !left {
				break
			}
		}
	}
}

// missing lists the ended jobs whose log has had time enough to come, and says whether any ended job waits for its log.
func (v *View) missing(now time.Time) (list []jobs.Job, left bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, behind := v.behind[partLogs]
	for _, active := range v.active {
		for _, e := range active {
			if e.ended == nil {
				continue
			}
			left = true
			if !behind && now.Sub(e.endedAt) >= fillDelay {
				list = append(list, *e.ended)
			}
		}
	}
	return list, left
}

// Log returns the log of a job. Of a terminal job it is whole: what the file lacks is fetched first.
func (v *View) Log(ctx context.Context, id string) (*logfile.Log, error) {
	job, err := v.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	log := v.logs.Get(id)
	if !job.State.Terminal() {
		return log, nil
	}
	if log.Size() < job.LogBytes {
		if err := v.fill(ctx, job.Host, id); err != nil {
			return nil, fmt.Errorf("log of job %s: %w", id, err)
		}
	}
	log.Finish()
	return log, nil
}
