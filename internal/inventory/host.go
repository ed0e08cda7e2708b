package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"netlab-runner/internal/account"
)

// Host looks at the labs of this machine.
type Host struct {
	// StateFiles are the status files that are not in a home, nil for none.
	StateFiles func() []string
	// Homes are the accounts whose homes may have a status file. The first with a lab of an instance keeps its name in a
	// listing, see Lab.Key.
	Homes func() []account.Account
	// Path is where the docker program is looked for: absolute directories, separated by colons.
	Path string
	// Log gets the problems of the status files, each once. Defaults to none.
	Log *slog.Logger

	reads reads

	mu sync.Mutex
	// running is the look that is under way, next the one that follows. Guarded by mu.
	running, next *look
	// problems are those of the last look. Guarded by mu.
	problems map[string]bool
}

// look is one look at the labs, for all who asked for it before it began.
type look struct {
	done    chan struct{}
	listing *Listing
}

// Labs looks at all labs of the machine. The look begins after the call does, and is shared with others who ask meanwhile: the
// listing is to be read only. What is wrong with one status file, or with Docker, is in the listing; an error is only that ctx
// ends before the look does, which takes 20 s at most.
func (h *Host) Labs(ctx context.Context) (*Listing, error) {
	l := h.take()
	select {
	case <-l.done:
		return l.listing, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("looking at the labs of this host: %w", ctx.Err())
	}
}

// take returns a look that has not begun.
func (h *Host) take() *look {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next = &look{done: make(chan struct{})}
		if h.running == nil {
			h.begin()
		}
	}
	return h.next
}

// begin starts the next look. h.mu is held, and the goroutine waits for it: who called take has the look by then.
func (h *Host) begin() {
	go func() {
		h.mu.Lock()
		l := h.next
		h.running, h.next = l, nil
		h.mu.Unlock()

		l.listing = h.look()
		close(l.done)

		h.mu.Lock()
		defer h.mu.Unlock()
		h.running = nil
		if h.next != nil {
			h.begin()
		}
	}()
}

// look looks at status files and Docker at once, then puts together what belongs together.
func (h *Host) look() *Listing {
	var (
		wg     sync.WaitGroup
		seen   sightings
		listed []source
	)
	wg.Go(func() { seen = h.askDocker() })
	wg.Go(func() { listed = h.readSources() })
	wg.Wait()
	l := &Listing{local: localNetworks(), homes: map[int]string{}}
	if h.Homes != nil {
		for _, a := range h.Homes() {
			l.homes[a.UID] = cmp.Or(l.homes[a.UID], StatusFile(a.Home))
		}
	}
	l.put(listed, seen)
	h.report(l.Problems)
	return l
}

// report logs problems that the last look had not.
func (h *Host) report(problems []string) {
	log := cmp.Or(h.Log, slog.New(slog.NewTextHandler(io.Discard, nil)))
	h.mu.Lock()
	before := h.problems
	h.problems = map[string]bool{}
	for _, p := range problems {
		h.problems[p] = true
	}
	h.mu.Unlock()
	for _, p := range problems {
		if !before[p] {
			log.Warn("labs of this host", "problem", p)
		}
	}
}

// localNetworks are the IPv4 networks of the machine's interfaces.
func localNetworks() (networks []netip.Prefix) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() {
			networks = append(networks, prefix.Masked())
		}
	}
	return networks
}

// errSlow is a file that is not read in time: its file system hangs, or its user keeps the reader busy.
var errSlow = errors.New("it is not read in time")

// readPatience is how long the files of one user are waited for.
const readPatience = 6 * time.Second

// reads are reads of files that may hang. One that hangs is waited for again, not begun again.
type reads struct {
	mu      sync.Mutex
	pending map[string]*pending
}

type pending struct {
	done chan struct{}
	// value is what f has returned, once done is closed.
	value any
}

// do returns what f returns, or errSlow where it takes too long.
func (r *reads) do(key string, f func() any) (any, error) {
	r.mu.Lock()
	if r.pending == nil {
		r.pending = map[string]*pending{}
	}
	p := r.pending[key]
	if p == nil {
		p = &pending{done: make(chan struct{})}
		r.pending[key] = p
		go func() {
			p.value = f()
			r.mu.Lock()
			delete(r.pending, key)
			r.mu.Unlock()
			close(p.done)
		}()
	}
	r.mu.Unlock()
	timer := time.NewTimer(readPatience)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.value, nil
	case <-timer.C:
		return nil, errSlow
	}
}
