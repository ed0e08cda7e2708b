package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/hosts"
)

// TakenError is a host name whose lease belongs to another worker.
type TakenError struct {
	Host, Identity string
	// Copy says that the other one has the same identity.
	Copy bool
}

func (e *TakenError) Error() string {
	if e.Copy {
		return fmt.Sprintf("host name %q is held by a worker that was started later with the same identity %s, from a copy of this one's data directory: "+
			"use one of the two directories, or remove the files in the other one and give its worker another name with NETLAB_WORKER_HOST", e.Host, e.Identity)
	}
	return fmt.Sprintf("host name %q is held by another worker (identity %s): give this one a name of its own with NETLAB_WORKER_HOST, or stop the other",
		e.Host, e.Identity)
}

// Lease is a host's sign of life, kept by its worker.
type Lease struct {
	bus      *Bus
	kv       jetstream.KeyValue
	host     string
	identity string
	revision uint64
	// TTL is how long the lease lives after a renewal.
	TTL time.Duration
}

// AcquireLease takes the host's lease. The same identity takes over at once: it is that of a worker before this one, or of a
// copied data directory. A *TakenError says that another one holds it.
func (b *Bus) AcquireLease(ctx context.Context, h *hosts.Host) (*Lease, error) {
	kv, err := b.js.KeyValue(ctx, hostsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w: no API has made the bucket %s yet", ErrUnavailable, hostsBucket)
	}
	if err != nil {
		return nil, translate(err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, translate(err)
	}
	l := &Lease{bus: b, kv: kv, host: h.Name, identity: h.Identity, TTL: status.TTL()}
	return l, l.take(ctx, h, true)
}

// take is by force where a process that is there with the same identity is to lose the lease.
func (l *Lease) take(ctx context.Context, h *hosts.Host, byForce bool) error {
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	entry, err := l.kv.Get(ctx, l.host)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		l.revision, err = l.kv.Create(ctx, l.host, value)
		return translate(err)
	case err != nil:
		return translate(err)
	}
	var holder hosts.Host
	if err := json.Unmarshal(entry.Value(), &holder); err != nil || holder.Identity != l.identity {
		return &TakenError{Host: l.host, Identity: holder.Identity}
	}
	// Not by which is the later time: the clock may have been set in between.
	if !byForce && !holder.StartedAt.Equal(h.StartedAt) {
		return &TakenError{Host: l.host, Identity: holder.Identity, Copy: true}
	}
	l.revision, err = l.kv.Update(ctx, l.host, value, entry.Revision())
	return translate(err)
}

// Renew puts h into the lease and starts its time anew. It takes a third of that time at most: an answer may be lost with a
// connection. A *TakenError says that another worker holds it now, maybe one that was started with the same identity since.
func (l *Lease) Renew(ctx context.Context, h *hosts.Host) error {
	ctx, cancel := context.WithTimeout(ctx, l.TTL/3)
	defer cancel()
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	revision, err := l.kv.Update(ctx, l.host, value, l.revision)
	if err == nil {
		l.revision = revision
		return nil
	}
	if err = translate(err); !errors.Is(err, ErrConflict) {
		return err
	}
	// The lease ran out, an answer was lost, or another worker is there.
	return l.take(ctx, h, false)
}

// Release gives the lease up, so that the host counts as offline at once.
func (l *Lease) Release(ctx context.Context) error {
	return translate(l.kv.Delete(ctx, l.host, jetstream.LastRevision(l.revision)))
}

// HostEvent is a lease renewed, or given up (Host nil).
type HostEvent struct {
	Name string
	Host *hosts.Host
}

// WatchHosts calls handle for every lease there is, then caughtUp once, then handle for every renewal, until ctx ends. A
// lease that runs out gives no event: time hosts out by when they were last heard of.
func (b *Bus) WatchHosts(ctx context.Context, handle func(HostEvent), caughtUp func()) error {
	// Not by the bucket's own watch, which notices a server that was started anew only after many seconds.
	prefix := "$KV." + hostsBucket + "."
	c := jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ">"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}
	return b.follow(ctx, hostsStream, Mark{}, c, func(m jetstream.Msg, _ Mark) {
		name := strings.TrimPrefix(m.Subject(), prefix)
		if m.Headers().Get(headerRemoved) != "" {
			handle(HostEvent{Name: name})
			return
		}
		h, err := decodeLease(name, m.Data())
		if err != nil {
			b.log.Error("bus: unreadable lease skipped", "host", name, "error", err)
			return
		}
		handle(HostEvent{Name: name, Host: h})
	}, caughtUp)
}

// decodeLease reads what a host says of itself under its name.
func decodeLease(name string, data []byte) (*hosts.Host, error) {
	h := &hosts.Host{}
	if err := json.Unmarshal(data, h); err != nil {
		return nil, err
	}
	if h.Name != name || hosts.ValidName(name) != nil {
		return nil, fmt.Errorf("it is of host %q", h.Name)
	}
	return h, nil
}
