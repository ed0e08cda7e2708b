package fetch

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"netlab-runner/internal/jobs"
)

// maxTried is how many addresses of a name are tried.
const maxTried = 8

// newTransport makes one connection a request, each to an address that was checked.
func newTransport(c Config) *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true) // all that a file needs
	return &http.Transport{
		Proxy:                  nil, // a proxy would reach what this host must not
		DialContext:            (&dialer{c}).dial,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              &http1,
	}
}

type dialer struct{ config Config }

// dial looks a name up once and connects to what it got then: a name that has another address a moment later gains nothing.
func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = addrs[:min(len(addrs), maxTried)]
	// One that does not answer leaves time for the others.
	one := net.Dialer{Timeout: d.config.Timeout / time.Duration(len(addrs))}
	var first error
	for _, addr := range addrs {
		conn, err := one.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, uint16(number)).String())
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// addresses are those of a host, which are all refused where one of them may not be reached.
func (d *dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else if addrs, err = d.config.Resolve(ctx, host); err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if !allowed(addr, d.config.Networks, own) {
			// Which one is nobody's business.
			return nil, &Refusal{Text: "leads to an internal address, which is not fetched: use another address, send the file itself, " +
				"or have the network allowed in NETLAB_WORKER_URL_NETWORKS"}
		}
	}
	return addrs, nil
}

// allowed says whether an address may be reached. This host's own are internal ones, whatever their network: what listens
// there may be meant for this host alone.
func allowed(addr netip.Addr, networks []netip.Prefix, own []netip.Addr) bool {
	addr = addr.Unmap()
	if addr.Zone() != "" || !jobs.MayFetch(addr, networks) {
		return false
	}
	return !slices.Contains(own, addr) || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func ownAddresses() ([]netip.Addr, error) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, a := range interfaces {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own, nil
}

func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
