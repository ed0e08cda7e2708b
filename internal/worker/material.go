package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/fetch"
	"netlab-runner/internal/jobs"
)

// fetchTimeout bounds the fetch of a topology, redirects and all.
const fetchTimeout = 30 * time.Second

// material is what came with a job, or was to be fetched for it: a topology or a bundle, or neither.
type material struct {
	topology string
	bundle   []byte
}

func (m *material) empty() bool { return m.topology == "" && m.bundle == nil }

// material gets what the job needs that is not on this host. An *invalidError is the request's fault.
func (w *Worker) material(ctx context.Context, birth *bus.Birth) (*material, error) {
	switch {
	case !starts(birth.Action) && birth.Action != jobs.Validate:
		return &material{}, nil
	case birth.Object != nil:
		return w.object(ctx, birth)
	case birth.SealedURL != nil:
		return w.fetch(ctx, birth)
	}
	return &material{topology: birth.Topology}, nil
}

// object reads what was too large for the birth, waiting for a bus that is away.
func (w *Worker) object(ctx context.Context, birth *bus.Birth) (*material, error) {
	var content []byte
	// Not in the time of one question: an object is many.
	err := w.bus.Retry(ctx, "object of job "+birth.ID, func(context.Context) (err error) {
		content, err = w.bus.Object(ctx, birth.Host, birth.ID, birth.Object)
		return err
	})
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("%s: the bus has lost it (%w): submit the job again", birth.Object.Kind, err)
	}
	if err != nil {
		return nil, err
	}
	switch birth.Object.Kind {
	case bus.ObjectTopology:
		return &material{topology: string(content)}, nil
	case bus.ObjectBundle:
		return &material{bundle: content}, nil
	default:
		return nil, fmt.Errorf("the job came with a %q, which this version of netlab-worker does not know: upgrade it", birth.Object.Kind)
	}
}

func (w *Worker) fetch(ctx context.Context, birth *bus.Birth) (*material, error) {
	url, err := w.key.OpenURL(birth.SealedURL)
	if err != nil {
		return nil, invalid("topologyUrl", "%v", err)
	}
	text, err := fetch.Get(ctx, url, fetch.Config{Networks: w.config.URLNetworks, Timeout: fetchTimeout, Limit: jobs.MaxTopologyBytes})
	var refusal *fetch.Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, invalid("topologyUrl", "%v", err)
	case err != nil:
		return nil, err
	}
	if err := jobs.CheckTopology(string(text)); err != nil {
		return nil, invalid("topologyUrl", "what is there %v", err)
	}
	return &material{topology: string(text)}, nil
}
