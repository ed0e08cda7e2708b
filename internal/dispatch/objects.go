package dispatch

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// largeTopology is from how many bytes on a topology does not travel in the birth itself.
const largeTopology = 128 << 10

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
		_ = d.bus.PurgeObject(ctx, birth.Host, birth.Object.NameOf(birth.ID)) // else retention does it
		if errors.Is(err, bus.ErrFull) {
			return fmt.Errorf("the %s cannot be stored until other jobs have ended, or NETLAB_BUS_OBJECTS_BYTES is raised: %w", kind, err)
		}
		return fmt.Errorf("the %s cannot be stored: %w", kind, err)
	}
	return nil
}

// discard removes the object of a job that was not born. Where the job may have been born after all, retention decides.
func (d *Dispatcher) discard(ctx context.Context, birth *bus.Birth, failure error) {
	if birth.Object == nil || errors.Is(failure, bus.ErrUnavailable) {
		return
	}
	_ = d.bus.PurgeObject(ctx, birth.Host, birth.Object.NameOf(birth.ID)) // else retention does it
}
