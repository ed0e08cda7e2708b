package api

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// spareConnections are those beyond the limit that are told so. Any more are closed without a word.
const spareConnections = 64

// connLimit counts the connections, and those of each client.
type connLimit struct {
	total, each int

	mu sync.Mutex
	// open are those that are served, of those of each client; spare are those that are refused.
	open, spare int
	of          map[netip.Prefix]int
}

func newConnLimit(total, each int) *connLimit {
	return &connLimit{total: total, each: each, of: make(map[netip.Prefix]int)}
}

// take makes room for a connection, until release. ok is false where there is none. A refusal says why the connection, which
// takes one of the spare places, is not to be served.
func (l *connLimit) take(addr net.Addr) (release func(), refusal string, ok bool) {
	client := clientOf(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= l.total:
		refusal = fmt.Sprintf("there are %d connections, as many as are served (NETLAB_API_CONNECTIONS): try again", l.total)
	case l.of[client] >= l.each:
		refusal = fmt.Sprintf("there are %d connections from this address, as many as are served (NETLAB_API_CLIENT_CONNECTIONS): use fewer, and keep them", l.each)
	}
	if refusal != "" {
		if l.spare >= spareConnections {
			return nil, "", false
		}
		l.spare++
		return l.giveSpare, refusal, true
	}
	l.open++
	l.of[client]++
	return func() { l.give(client) }, "", true
}

func (l *connLimit) give(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.of[client]--; l.of[client] == 0 {
		delete(l.of, client)
	}
}

func (l *connLimit) giveSpare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare--
}

// clientOf is the address that a client has, of IPv6 the network, in which one client has as many addresses as it likes.
func clientOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() && !ip.IsLoopback() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // of as many bits as the address has at most
	return prefix
}
