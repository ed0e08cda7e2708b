package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
)

// acquire takes the host's lease, waiting for the API to make the bucket and for another holder's lease to run out.
func (w *Worker) acquire(ctx context.Context) (lease *bus.Lease, err error) {
	for {
		err := w.bus.Retry(ctx, "lease of host "+w.config.Host, func(ctx context.Context) (err error) {
			began := time.Now()
			if lease, err = w.bus.AcquireLease(ctx, w.announcement()); err == nil {
				w.hold(began.Add(lease.TTL))
			}
			return err
		})
		if err == nil {
			w.log.Info("host announced", "host", w.config.Host, "bus", w.bus.Server())
			return lease, nil
		}
		var taken *bus.TakenError
		held := errors.As(err, &taken) || errors.Is(err, bus.ErrConflict)
		if ctx.Err() != nil || !held {
			return nil, err
		}
		w.log.Error("host name taken, trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// keep renews the lease until ctx ends, then gives it up. It returns an error when another worker holds the name.
func (w *Worker) keep(ctx context.Context, lease *bus.Lease) error {
	tick := time.NewTicker(max(lease.TTL/3, 100*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return lease.Release(release)
		case <-tick.C:
		}
		began := time.Now()
		err := lease.Renew(ctx, w.announcement())
		if err == nil {
			w.hold(began.Add(lease.TTL))
		}
		var taken *bus.TakenError
		if errors.As(err, &taken) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("lease not renewed", "error", err)
		}
	}
}

// hold says until when nobody else can have the host's name.
func (w *Worker) hold(until time.Time) { w.held.Store(&until) }

// holdLook is how often it is looked whether the host's name is held again.
const holdLook = 10 * time.Millisecond

// awaitHold returns when nobody else can have the host's name, or ctx ends. A worker that was frozen, or without the bus, may have
// lost it: whatever it would begin then is for it to begin only once its lease is renewed.
func (w *Worker) awaitHold(ctx context.Context) error {
	for {
		if until := w.held.Load(); until != nil && time.Now().Before(*until) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(holdLook):
		}
	}
}

// announcement is what the lease says just now.
func (w *Worker) announcement() *hosts.Host {
	running, waiting := w.queue.counts()
	h := &hosts.Host{
		Name:      w.config.Host,
		Online:    true,
		Identity:  w.data.identity,
		Version:   w.config.Version,
		StartedAt: w.started,
		Slots:     w.config.Slots,
		Running:   running,
		Queued:    waiting,
		Load:      load(),
		Labels:    w.config.Labels,
		Roots:     w.config.Roots,
		Templates: w.config.Templates,
		PublicKey: w.publicKey,
		Unserved:  w.unserved.Load(),
	}
	for _, p := range w.config.URLNetworks {
		h.URLNetworks = append(h.URLNetworks, p.String())
	}
	if r := w.refusal.Load(); r != nil && time.Since(r.at) < refusalStands {
		h.Error = r.text
	}
	w.netlab.check()
	if n, err := w.netlab.last(); err != nil {
		h.Netlab.Error = err.Error()
	} else if n != nil {
		h.Netlab.Version, h.Netlab.Python = n.Version, n.Python
	}
	return h
}

// refusalStands is how long a request that could not be taken is told of. It comes again every second until it is taken, or canceled.
const refusalStands = 10 * time.Second

// takeRefusal is why a request could not be taken, and when that was.
type takeRefusal struct {
	text string
	at   time.Time
}

// cannotTake has the lease say why a request is not taken.
func (w *Worker) cannotTake(err error) error {
	text := "a request cannot be taken: " + err.Error()
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		text += ": make room on the disk of NETLAB_WORKER_DATA_DIR, " + w.config.DataDir
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		text += ": make NETLAB_WORKER_DATA_DIR, " + w.config.DataDir + ", writable"
	case errors.Is(err, syscall.EMFILE):
		text += ": let the program open more files, by LimitNOFILE= in its unit or ulimit -n in a shell"
	}
	w.refusal.Store(&takeRefusal{text, time.Now()})
	return err
}

// load is the one-minute load average a core, 0 where it cannot be read.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	average, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return average / float64(runtime.NumCPU())
}
