package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// largeTopology is from how many bytes on a topology does not travel in the birth itself.
const largeTopology = 128 << 10

// sweepEvery is how often the objects of jobs that have ended are removed.
const sweepEvery = time.Minute

// enclose puts the topology or the bundle of the payload into the birth, or beside it where it is large.
func (d *Dispatcher) enclose(ctx context.Context, birth *bus.Birth, p *jobs.Payload) error {
	kind, content := bus.ObjectBundle, p.Bundle
	if content == nil {
		if len(p.Topology) <= largeTopology {
			birth.Topology = p.Topology
			return nil
		}
		kind, content = bus.ObjectTopology, []byte(p.Topology)
	}
	birth.Object = bus.RefOf(kind, content)
	if birth.Fingerprint != "" {
		// Another request with the same key may put its own at the same time, and only one of them makes the job.
		birth.Object.Attempt = uuid.NewString()
	}
	if err := d.bus.PutObject(ctx, birth.Host, birth.Object.NameOf(birth.ID), content); err != nil {
		_ = d.bus.PurgeObject(ctx, birth.Host, birth.Object.NameOf(birth.ID)) // else the sweep does it
		if errors.Is(err, bus.ErrFull) {
			return fmt.Errorf("the %s cannot be stored until other jobs have ended, or NETLAB_BUS_OBJECTS_BYTES is raised: %w", kind, err)
		}
		return fmt.Errorf("the %s cannot be stored: %w", kind, err)
	}
	return nil
}

// discard removes the object of a job that was not born. Where the job may have been born after all, the sweep decides.
func (d *Dispatcher) discard(ctx context.Context, birth *bus.Birth, failure error) {
	if birth.Object == nil || errors.Is(failure, bus.ErrUnavailable) {
		return
	}
	_ = d.bus.PurgeObject(ctx, birth.Host, birth.Object.NameOf(birth.ID)) // else the sweep does it
}

// Sweep removes the objects of jobs that have ended, until ctx ends.
func (d *Dispatcher) Sweep(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !d.view.CaughtUp() {
			continue
		}
		if err := d.sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, bus.ErrUnavailable) {
			log.Warn("objects of ended jobs not removed, trying again", "error", err)
		}
	}
}

func (d *Dispatcher) sweep(ctx context.Context) error {
	return d.bus.SweepObjects(ctx, func(id string) bus.Needs {
		job, err := d.view.Job(ctx, id)
		if errors.Is(err, view.ErrUnknown) {
			return bus.Needs{}
		}
		lives := err != nil || !job.State.Terminal()
		// Of a job that has ended with nothing kept, what is there is of a try that was given up.
		return bus.Needs{Known: true, Input: lives, Kept: lives || job.Kept != nil}
	})
}
