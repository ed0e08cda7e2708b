// Package dispatch takes a payload, finds the host for it and gives birth to the job.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// ErrNoHost is a fleet in which no host is online.
var ErrNoHost = errors.New("no host is online")

// PlacedError is a job whose host is settled and cannot take it now.
type PlacedError struct {
	Host string
	// Text says why it must be this host, what is wrong with it and the remedy.
	Text string
}

func (e *PlacedError) Error() string { return fmt.Sprintf("host %s: %s", e.Host, e.Text) }

// Dispatcher is safe for concurrent use.
type Dispatcher struct {
	bus  *bus.Bus
	view *view.View
	keep []string
	had  recent
}

// New returns a dispatcher to the hosts that the view knows. keep are patterns of the files that each job leaves in the store of
// objects, see artifact.CheckPattern.
func New(b *bus.Bus, v *view.View, keep []string) *Dispatcher {
	return &Dispatcher{bus: b, view: v, keep: keep, had: newRecent(maxRecent)}
}

// Submit makes a job of the payload. Errors: *jobs.Invalid, *PlacedError, ErrNoHost, bus.ErrUnavailable, bus.ErrFull,
// bus.ErrTooLarge; then there is no job, unless the error says that there may be one.
func (d *Dispatcher) Submit(ctx context.Context, p *jobs.Payload) (jobs.Job, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return jobs.Job{}, err
	}
	return d.submit(ctx, p, id.String(), "")
}

// submit is Submit of a job with this id. fingerprint goes into the birth; it is empty where the id is of no key.
func (d *Dispatcher) submit(ctx context.Context, p *jobs.Payload, id, fingerprint string) (jobs.Job, error) {
	if err := d.view.Writable(); err != nil {
		return jobs.Job{}, err
	}
	host, workdir, why, err := d.place(ctx, p)
	if err != nil {
		return jobs.Job{}, err
	}
	job := jobs.Job{
		ID:         id,
		Action:     p.Request.Action,
		State:      jobs.Queued,
		User:       p.Request.User,
		Workspace:  p.Request.Workspace,
		Deployment: p.Request.Deployment,
		Workdir:    workdir,
		Host:       host.Name,
		Placement:  why,
		Instance:   cmp.Or(p.Request.Instance, p.Request.MultilabID),
		CreatedAt:  time.Now().UTC().Truncate(time.Second),
		Warnings:   append([]string{}, p.Warnings...),
		Request:    p.Request,
	}
	birth := &bus.Birth{Job: job, Fingerprint: fingerprint}
	if job.Action.Changes() {
		birth.Keep = d.keep
	}
	if err := seal(birth, p, host); err != nil {
		return jobs.Job{}, err
	}
	if err := d.enclose(ctx, birth, p); err != nil {
		return jobs.Job{}, err
	}
	seq, err := d.bus.Submit(ctx, birth)
	if err != nil {
		d.discard(ctx, birth, err)
		return jobs.Job{}, err
	}
	job = d.view.Add(birth, seq)
	return job, d.settle(ctx, &job)
}

// settle notes the host that the request of a job names: from now on the lab is there, and the next job of its directory finds
// it without naming the host.
func (d *Dispatcher) settle(ctx context.Context, job *jobs.Job) error {
	if job.Request.Host == "" || !job.Action.Changes() {
		return nil
	}
	if err := d.bus.MovePlace(ctx, job.Workdir, job.Host); err != nil {
		if !errors.Is(err, bus.ErrUnavailable) {
			err = fmt.Errorf("%w: %v", bus.ErrUnavailable, err) //nolint:errorlint // the job is there, whatever this is
		}
		return fmt.Errorf("the job was accepted as %s, but not that its working directory is on %s now: %w", job.ID, job.Host, err)
	}
	return nil
}

// seal puts into the birth what only its host may read.
func seal(birth *bus.Birth, p *jobs.Payload, host hosts.Host) (err error) {
	if len(p.Secrets) > 0 {
		birth.Sealed, err = bus.SealEnvironment(p.Secrets, host.PublicKey)
	}
	if err == nil && p.TopologyURL != "" {
		birth.SealedURL, err = bus.SealURL(p.TopologyURL, host.PublicKey)
	}
	if err != nil {
		return &PlacedError{Host: host.Name, Text: "its worker announces no key to seal what is secret to: restart it (" + err.Error() + ")"}
	}
	return nil
}

// place settles the host of the payload, its working directory there, and why it is this host.
func (d *Dispatcher) place(ctx context.Context, p *jobs.Payload) (host hosts.Host, workdir, why string, err error) {
	if name := p.Request.Host; name != "" {
		return d.asked(name, p)
	}
	candidates := d.candidates(p.Request.Labels)
	if len(candidates) == 0 {
		return host, "", "", d.noCandidate(p.Request.Labels)
	}
	// The directory is the same on every host; whether it lies below the host's roots is not.
	var refusal error
	fitting := candidates[:0]
	for _, h := range candidates {
		dir, err := p.Place(h)
		if err != nil {
			refusal = cmp.Or(refusal, err)
			continue
		}
		workdir = dir
		fitting = append(fitting, h)
	}
	if workdir == "" {
		return host, "", "", refusal
	}
	best := fitting[0]
	placed, isNew, err := d.placeOf(ctx, workdir, best.Name, p.Request.Action)
	if err != nil {
		return host, "", "", err
	}
	if isNew {
		return best, workdir, fmt.Sprintf("most room of %d", len(fitting)), nil
	}
	why = "the working directory is on this host"
	h, ok := d.view.Host(placed)
	switch {
	case !ok || !h.Online:
		return host, "", "", &PlacedError{Host: placed, Text: why + " and it is offline: start its worker, or name another host in `host`"}
	case !bears(h, p.Request.Labels):
		return host, "", "", &PlacedError{Host: placed, Text: why + " and it does not bear the labels asked for: leave `labels` out, or name another host in `host`"}
	}
	if workdir, err = p.Place(h); err != nil {
		return host, "", "", err
	}
	return h, workdir, why, nil
}

func (d *Dispatcher) asked(name string, p *jobs.Payload) (host hosts.Host, workdir, why string, err error) {
	h, ok := d.view.Host(name)
	if !ok {
		return host, "", "", &jobs.Invalid{Faults: []jobs.Fault{{Field: "host", Text: fmt.Sprintf("no host %q is known; GET /hosts lists them%s", name, d.names())}}}
	}
	if !h.Online {
		return host, "", "", &PlacedError{Host: name, Text: "asked for in `host` and offline: start its worker, or leave `host` out"}
	}
	if workdir, err = p.Place(h); err != nil {
		return host, "", "", err
	}
	return h, workdir, "asked for in the request", nil
}

func (d *Dispatcher) names() string {
	var names []string
	for _, h := range d.view.Hosts() {
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// candidates are the hosts that are online and bear the labels, those with a working Netlab and the most room first.
func (d *Dispatcher) candidates(labels map[string]string) []hosts.Host {
	type candidate struct {
		host hosts.Host
		room int
	}
	var list []candidate
	for _, h := range d.view.Hosts() {
		if h.Online && bears(h, labels) {
			list = append(list, candidate{h, h.Slots - d.view.Active(h.Name)})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		if broken := cmp.Compare(len(a.host.Netlab.Error), len(b.host.Netlab.Error)); (a.host.Netlab.Error == "") != (b.host.Netlab.Error == "") {
			return broken
		}
		return cmp.Or(cmp.Compare(b.room, a.room), cmp.Compare(a.host.Load, b.host.Load))
	})
	sorted := make([]hosts.Host, len(list))
	for i, c := range list {
		sorted[i] = c.host
	}
	return sorted
}

func (d *Dispatcher) noCandidate(labels map[string]string) error {
	if len(labels) > 0 && len(d.candidates(nil)) > 0 {
		return &jobs.Invalid{Faults: []jobs.Fault{{Field: "labels", Text: "no host that is online bears all of them; GET /hosts shows each host's labels"}}}
	}
	return ErrNoHost
}

func bears(h hosts.Host, labels map[string]string) bool {
	for k, v := range labels {
		if got, ok := h.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
