package program

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"netlab-runner/internal/settings"
)

// Listen returns the socket that systemd holds for the program, over its restarts, or else one of its own.
func Listen(ctx context.Context, s *settings.HTTP) (net.Listener, error) {
	held, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("the socket of systemd: %w", err)
	}
	if len(held) == 0 {
		l, err := (&net.ListenConfig{}).Listen(ctx, network(s.Bind), net.JoinHostPort(s.Bind, strconv.Itoa(s.Port)))
		if err != nil {
			return nil, fmt.Errorf("%w: choose another NETLAB_API_BIND or NETLAB_API_PORT", err)
		}
		return l, nil
	}
	address := tcpAddress(held[0])
	if len(held) > 1 || address == nil {
		return nil, fmt.Errorf("systemd holds %d sockets for netlab-api: give its socket unit one ListenStream= with an address and a port", len(held))
	}
	if err := s.CheckAddress(address.IP.String()); err != nil {
		return nil, fmt.Errorf("the socket of systemd: %w", err)
	}
	return held[0], nil
}

// tcpAddress is where a socket listens, nil for any other kind; one that is not for streams is no listener at all.
func tcpAddress(l net.Listener) *net.TCPAddr {
	if l == nil {
		return nil
	}
	address, _ := l.Addr().(*net.TCPAddr)
	return address
}

// network is that of the address: 0.0.0.0 is not to mean every IPv6 address as well.
func network(bind string) string {
	address, err := netip.ParseAddr(bind)
	switch {
	case err != nil:
		return "tcp"
	case address.Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}

// Notify tells systemd how the program is, where it was started by a unit that waits for that.
func Notify(state string, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be told", "state", state, "error", err)
	}
}

const (
	// extendEvery is how often systemd is asked to wait on.
	extendEvery = 10 * time.Second
	// extension is for how long it is asked each time, and so for how long a start may take that has read its store.
	extension = time.Minute
)

// ExtendStart asks systemd to wait on for the program's start, beyond TimeoutStartSec=, until ctx ends.
func ExtendStart(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extension.Microseconds()), log)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Watch tells systemd that the program is alive for as long as alive returns, until ctx ends. A unit with WatchdogSec= starts a
// program anew that hangs; no run of Netlab is hurt by that.
func Watch(ctx context.Context, alive func(), log *slog.Logger) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		alive()
		Notify(daemon.SdNotifyWatchdog, log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
