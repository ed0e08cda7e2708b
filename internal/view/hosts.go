package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
)

// hostEntry is a host and when it was last heard of, by this machine's clock.
type hostEntry struct {
	host  hosts.Host
	heard time.Time
	// gone is a lease that was given up.
	gone bool
	// tellAt is when the worker is to be told again which jobs are under way on its host.
	tellAt time.Time
}

// tellEvery is after how many leases a worker is told again which jobs are under way on its host. What is lost on the way to its
// journal comes to light so: a worker that was frozen may wake up to acknowledge a request that this one has not got.
const tellEvery = 4

func (v *View) followHosts(ctx context.Context, _ *turn, done func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var admitting sync.WaitGroup
	defer admitting.Wait()
	defer cancel() // who is admitted may wait for what this is to find out
	return v.bus.WatchHosts(ctx, func(e bus.HostEvent) {
		isNew, due := v.hear(e, time.Now())
		if isNew {
			v.log.Info("host online", "host", e.Name)
		}
		if due {
			admitting.Go(func() { v.admit(ctx, e.Name) })
		}
	}, done)
}

// hear takes in a lease. isNew: its worker process is one that the view has not seen before. due: the host is to be admitted, because
// it is new, or is to be told again what it has to know, or waits for its consumer, which the bus has lost.
func (v *View) hear(e bus.HostEvent, now time.Time) (isNew, due bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.hosts[e.Name]
	if e.Host == nil {
		if known != nil {
			known.gone = true
		}
		return false, false
	}
	h := &hostEntry{host: *e.Host, heard: now}
	v.hosts[e.Name] = h
	isNew = known == nil || !known.host.StartedAt.Equal(e.Host.StartedAt)
	if due = isNew || !now.Before(known.tellAt) || e.Host.Unserved; due {
		h.tellAt = now.Add(tellEvery * v.lease)
	} else {
		h.tellAt = known.tellAt
	}
	return isNew, due
}

// admit makes the host's consumer, for which its worker waits, and tells the worker which jobs are under way. Until then the host is there
// all the same: what it is to do waits on the bus.
func (v *View) admit(ctx context.Context, host string) {
	err := v.bus.Retry(ctx, "consumer of host "+host, func(ctx context.Context) error { return v.bus.EnsureConsumer(ctx, host) })
	if err != nil {
		err = fmt.Errorf("its consumer: %w", err)
	} else if err = v.reconcile(ctx, host); err != nil {
		err = fmt.Errorf("which jobs are under way: %w", err)
	}
	if err == nil {
		return
	}
	if ctx.Err() == nil {
		v.log.Warn("view: the host has not got all that it needs, trying again with its next sign of life", "host", host, "error", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if h := v.hosts[host]; h != nil {
		h.tellAt = time.Time{}
	}
}

// reconcileAtOnce is how many jobs one question names.
const reconcileAtOnce = 500

// reconcile tells a worker that has started which jobs are under way on its host. What its journal has lost it finds out so, and
// only then it takes new ones.
func (v *View) reconcile(ctx context.Context, host string) (failed error) {
	v.AwaitCaughtUp(ctx)
	ids := v.underWay(host)
	for first := true; first || len(ids) > 0; first = false {
		some := ids[:min(len(ids), reconcileAtOnce)]
		ids = ids[len(some):]
		failed = errors.Join(failed, v.bus.Retry(ctx, "jobs under way on "+host, func(ctx context.Context) error {
			_, err := v.bus.Ask(ctx, host, "jobs", map[string]any{"jobs": some})
			return err
		}))
	}
	return failed
}

// underWay are the jobs of a host that have not ended, the oldest first.
func (v *View) underWay(host string) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	ids := []string{}
	for _, e := range v.active[host] {
		if e.ending() == nil {
			ids = append(ids, e.id)
		}
	}
	return ids
}

func (v *View) online(h *hostEntry, now time.Time) bool {
	return !h.gone && now.Sub(h.heard) <= v.lease
}

// shownHost is the lease's content, with whether it is alive.
func (v *View) shownHost(h *hostEntry, now time.Time) hosts.Host {
	host := h.host
	host.Online = v.online(h, now)
	host.StartedAt = host.StartedAt.Truncate(time.Second) // as all times that are shown
	return host
}

// Hosts returns every host that the view has seen, by name, with Online set.
func (v *View) Hosts() []hosts.Host {
	v.mu.RLock()
	defer v.mu.RUnlock()
	now := time.Now()
	list := make([]hosts.Host, 0, len(v.hosts))
	for _, h := range v.hosts {
		list = append(list, v.shownHost(h, now))
	}
	slices.SortFunc(list, func(a, b hosts.Host) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// AwaitHost returns when the host is online or ctx ends.
func (v *View) AwaitHost(ctx context.Context, name string) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if h, _ := v.Host(name); h.Online {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// Host returns one host by name, and whether the view has seen it.
func (v *View) Host(name string) (hosts.Host, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	h, ok := v.hosts[name]
	if !ok {
		return hosts.Host{}, false
	}
	return v.shownHost(h, time.Now()), true
}
