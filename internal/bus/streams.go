package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits are what an operator may set of the streams.
type Limits struct {
	// Replicas of every stream and bucket, 1 to 5.
	Replicas int
	// JobsBytes, LogsBytes and ObjectsBytes are the streams' largest sizes. A full stream refuses what is new.
	JobsBytes, LogsBytes, ObjectsBytes int64
	// Lease is how long a host counts as online after its last sign of life.
	Lease time.Duration
}

// consumersPerStream replaces the server's default of 1,000: a consumer per host, and each API's own.
const consumersPerStream = 100_000

// EnsureStreams makes the streams and buckets that are not there, and brings in line what differs where nothing can be lost
// by it. A *RefusedError names what differs elsewhere. Several APIs may do this at once.
func (b *Bus) EnsureStreams(ctx context.Context, l Limits) error {
	b.limits.Store(&l)
	for _, want := range wantedStreams(l) {
		err := b.Retry(ctx, "stream "+want.Name, func(ctx context.Context) error { return b.ensureStream(ctx, want) })
		if err != nil {
			return err
		}
	}
	return nil
}

// MendStreams makes what is not there any more of the streams that EnsureStreams has made.
func (b *Bus) MendStreams(ctx context.Context) error {
	if l := b.limits.Load(); l != nil {
		return b.EnsureStreams(ctx, *l)
	}
	return nil
}

func wantedStreams(l Limits) []jetstream.StreamConfig {
	replicas := max(l.Replicas, 1)
	ofJobs := func(name, description string, bytes int64, compression jetstream.StoreCompression, kinds ...string) jetstream.StreamConfig {
		c := jetstream.StreamConfig{
			Name:        name,
			Description: description,
			// No age limit, and refusing when full: a queued or running job is never dropped by the stream itself.
			Discard:      jetstream.DiscardNew,
			MaxBytes:     bytes,
			MaxMsgSize:   MaxMessage,
			MaxConsumers: consumersPerStream,
			Storage:      jetstream.FileStorage,
			Replicas:     replicas,
			Compression:  compression,
			AllowDirect:  true,
			SubjectTransform: &jetstream.SubjectTransformConfig{
				Source: intake + ">", Destination: public + ">",
			},
			RePublish: &jetstream.RePublish{Source: public + ">", Destination: public + ">"},
		}
		for _, kind := range kinds {
			c.Subjects = append(c.Subjects, intakeSubject("*", "*", kind))
		}
		return c
	}
	// A bucket made by nats.go allows roll-ups, with which one publisher can empty the whole bucket. These are made by hand.
	bucket := func(name, description string, ttl time.Duration) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:              "KV_" + name,
			Description:       description,
			Subjects:          []string{"$KV." + name + ".>"},
			MaxMsgsPerSubject: 1,
			MaxAge:            ttl,
			Discard:           jetstream.DiscardNew,
			MaxMsgSize:        MaxMessage,
			MaxConsumers:      consumersPerStream,
			Storage:           jetstream.FileStorage,
			Replicas:          replicas,
			AllowDirect:       true,
			DenyDelete:        true,
			DenyPurge:         true,
		}
	}
	objects := ofJobs(objectsStream, "topologies and bundles of jobs, and files that they have left, in pieces", l.ObjectsBytes, jetstream.NoCompression)
	objects.Subjects = []string{objectsIntake + "*.*.*", objectsIntake + "*.*.*.*"}
	objects.SubjectTransform = &jetstream.SubjectTransformConfig{Source: objectsIntake + ">", Destination: objectsPublic + ">"}
	objects.RePublish = nil // a piece is for its host alone
	return []jetstream.StreamConfig{
		ofJobs(jobsStream, "births, states and cancel requests of jobs", l.JobsBytes, jetstream.NoCompression, kindRequest, kindStatus, kindCancel),
		ofJobs(logsStream, "logs of jobs", l.LogsBytes, jetstream.S2Compression, kindLog),
		objects,
		bucket(hostsBucket, "leases of hosts", l.Lease),
		bucket(placesBucket, "which host has which working directory", 0),
		bucket(retentionBucket, "up to when ended the jobs that were let go", 0),
	}
}

func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = b.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another API was first, with other limits.
			return b.ensureStream(ctx, want)
		}
		if err = translate(err); errors.Is(err, ErrFull) {
			// Room for the whole stream is set aside when it is made: the server would do so once more for one that another API has
			// made since, and says so before it says that there is one.
			if _, again := b.js.Stream(ctx, want.Name); again == nil {
				return b.ensureStream(ctx, want)
			}
			size := ""
			if want.MaxBytes > 0 {
				size = fmt.Sprintf(" of %d bytes", want.MaxBytes)
			}
			return fmt.Errorf("stream %s%s cannot be made, the server has no room for it (%s): "+
				"lower NETLAB_BUS_JOBS_BYTES, NETLAB_BUS_LOGS_BYTES or NETLAB_BUS_OBJECTS_BYTES, or give the server more disk; unless it is told otherwise it uses three quarters of what is free when it starts", want.Name, size, err)
		}
		if api := (*jetstream.APIError)(nil); errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap {
			return fmt.Errorf("stream %s cannot be made, another stream has some of its subjects (%s): move that one away (%w)",
				want.Name, strings.Join(want.Subjects, ", "), err)
		}
		if err != nil && !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("stream %s cannot be made, the server's log may say why (%w)", want.Name, err)
		}
		return err
	}
	if err != nil {
		return translate(err)
	}
	info := stream.CachedInfo()
	merged, changed, refused := reconcile(info.Config, want, info.State)
	if len(refused) > 0 {
		return &RefusedError{Stream: want.Name, Differs: refused}
	}
	if len(changed) == 0 {
		return nil
	}
	if _, err := b.js.UpdateStream(ctx, merged); err != nil {
		if err = translate(err); errors.Is(err, ErrUnavailable) {
			return err
		}
		return &RefusedError{Stream: want.Name, Differs: append(changed, "the server refused the change: "+err.Error())}
	}
	b.log.Info("bus: stream brought in line", "stream", want.Name, "changed", changed)
	return nil
}

// reconcile compares a stream with what it should be. merged has what can be changed without losing a message; changed and
// refused name the differences, as "field is X, should be Y".
func reconcile(is, want jetstream.StreamConfig, state jetstream.StreamState) (merged jetstream.StreamConfig, changed, refused []string) {
	merged = is
	differs := func(list *[]string, field string, is, want any) {
		*list = append(*list, fmt.Sprintf("%s is %v, should be %v", field, is, want))
	}
	safe := func(field string, is, want any, set func()) {
		if fmt.Sprint(is) != fmt.Sprint(want) {
			differs(&changed, field, is, want)
			set()
		}
	}
	fixed := func(field string, is, want any) {
		if fmt.Sprint(is) != fmt.Sprint(want) {
			differs(&refused, field, is, want)
		}
	}
	fixed("retention", is.Retention, want.Retention)
	fixed("storage", is.Storage, want.Storage)
	fixed("allow_rollup_hdrs", is.AllowRollup, want.AllowRollup)
	fixed("allow_msg_schedules", is.AllowMsgSchedules, want.AllowMsgSchedules)
	fixed("deny_delete", is.DenyDelete, want.DenyDelete)
	fixed("deny_purge", is.DenyPurge, want.DenyPurge)
	fixed("mirror", is.Mirror != nil, false)
	fixed("sources", len(is.Sources), 0)
	fixed("sealed", is.Sealed, false)
	fixed("no_ack", is.NoAck, false)
	// The messages that are there keep the subjects under which they were stored.
	if state.Msgs > 0 {
		fixed("subject_transform", transformText(is.SubjectTransform), transformText(want.SubjectTransform))
	} else {
		safe("subject_transform", transformText(is.SubjectTransform), transformText(want.SubjectTransform),
			func() { merged.SubjectTransform = want.SubjectTransform })
	}
	// A smaller limit than what is there would drop messages.
	if want.MaxMsgsPerSubject > 0 && is.MaxMsgsPerSubject != want.MaxMsgsPerSubject && state.Msgs > 0 {
		fixed("max_msgs_per_subject", is.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	} else {
		safe("max_msgs_per_subject", unlimited(is.MaxMsgsPerSubject), unlimited(want.MaxMsgsPerSubject),
			func() { merged.MaxMsgsPerSubject = want.MaxMsgsPerSubject })
	}
	safe("max_msgs", unlimited(is.MaxMsgs), unlimited(want.MaxMsgs), func() { merged.MaxMsgs = want.MaxMsgs })
	if want.MaxBytes > 0 && state.Bytes > uint64(want.MaxBytes) {
		refused = append(refused, fmt.Sprintf("it holds %d bytes, more than the limit of %d: raise NETLAB_BUS_JOBS_BYTES, NETLAB_BUS_LOGS_BYTES or NETLAB_BUS_OBJECTS_BYTES", state.Bytes, want.MaxBytes))
	} else {
		safe("max_bytes", unlimited(is.MaxBytes), unlimited(want.MaxBytes), func() { merged.MaxBytes = want.MaxBytes })
	}
	safe("description", is.Description, want.Description, func() { merged.Description = want.Description })
	safe("subjects", is.Subjects, want.Subjects, func() { merged.Subjects = want.Subjects })
	safe("max_age", is.MaxAge, want.MaxAge, func() {
		merged.MaxAge = want.MaxAge
		// The server refuses a duplicate window longer than the age.
		merged.Duplicates = 0
	})
	safe("discard", is.Discard, want.Discard, func() { merged.Discard = want.Discard })
	safe("max_msg_size", is.MaxMsgSize, want.MaxMsgSize, func() { merged.MaxMsgSize = want.MaxMsgSize })
	safe("num_replicas", is.Replicas, want.Replicas, func() { merged.Replicas = want.Replicas })
	safe("compression", is.Compression, want.Compression, func() { merged.Compression = want.Compression })
	safe("allow_direct", is.AllowDirect, want.AllowDirect, func() { merged.AllowDirect = want.AllowDirect })
	safe("republish", republishText(is.RePublish), republishText(want.RePublish), func() { merged.RePublish = want.RePublish })
	// None is as good: the server's own default then is the account's.
	if is.MaxConsumers > 0 && is.MaxConsumers < want.MaxConsumers {
		fixed("max_consumers", is.MaxConsumers, want.MaxConsumers)
	}
	return merged, changed, refused
}

// unlimited makes one value of the two that mean "no limit".
func unlimited(n int64) int64 {
	if n <= 0 {
		return -1
	}
	return n
}

func transformText(t *jetstream.SubjectTransformConfig) string {
	if t == nil {
		return "none"
	}
	return t.Source + " → " + t.Destination
}

func republishText(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return r.Source + " → " + r.Destination
}

// StreamSize is how full a stream or bucket is.
type StreamSize struct {
	// Name is "jobs", "logs", "objects", "hosts" or "placements".
	Name            string
	Bytes, Messages uint64
	// LimitBytes is 0 where there is none.
	LimitBytes int64
}

// StreamSizes returns what can be had of the sizes: those of a stream that does not answer are missing.
func (b *Bus) StreamSizes(ctx context.Context) []StreamSize {
	var sizes []StreamSize
	for _, s := range []struct{ name, stream string }{
		{"jobs", jobsStream}, {"logs", logsStream}, {"objects", objectsStream}, {"hosts", hostsStream}, {"placements", placesStream},
	} {
		stream, err := b.js.Stream(ctx, s.stream)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			continue
		}
		info := stream.CachedInfo()
		sizes = append(sizes, StreamSize{Name: s.name, Bytes: info.State.Bytes, Messages: info.State.Msgs, LimitBytes: max(info.Config.MaxBytes, 0)})
	}
	return sizes
}
