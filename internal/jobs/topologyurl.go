package jobs

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const maxURL = 2048

// topologyURL returns a URL that some host may try to fetch: whether the host allows an internal address is for Place to
// check, what a name resolves to for the host itself.
func (f *fields) topologyURL() string {
	const field = "topologyUrl"
	s := f.word(field)
	if s == "" {
		return ""
	}
	if _, problem := checkURL(s); problem != "" {
		f.fault(field, "%s", problem) // without the URL, which may hold a password
		return ""
	}
	return s
}

// shownURL is a URL without what may be secret in it.
func shownURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	shown := *u
	shown.RawQuery, shown.Fragment, shown.RawFragment = "", "", ""
	return shown.String()
}

// internalProblem is what is wrong with a URL that points to an internal address.
const internalProblem = "points to an internal address, which is not fetched: send the text itself as topology"

// checkURL says what is wrong with the URL, without showing it, "" for nothing; and the internal address that it points to.
func checkURL(s string) (internal netip.Addr, problem string) {
	if len(s) > maxURL {
		return internal, "is longer than 2048 bytes: use a shorter one"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }) {
		return internal, `has a space, a control character or a '\' in it: write it as %XX`
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return internal, "is not a URL: use http:// or https://, a host and a path"
	case u.Scheme != "http" && u.Scheme != "https":
		return internal, "must begin with http:// or https://"
	case u.User != nil:
		return internal, "has a user or password in it, which everybody would see: leave it out"
	case u.Hostname() == "":
		return internal, "names no host: use http:// or https://, a host and a path"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return internal, "has a port that is not valid: use 1 to 65535"
		}
	}
	addr, problem := literalAddress(u.Hostname())
	if problem == "" && addr.IsValid() && InternalAddress(addr) {
		internal = addr
	}
	return internal, problem
}

// literalAddress reads a host that is an address in any notation that a C library reads; a name gives none.
func literalAddress(host string) (addr netip.Addr, problem string) {
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		return addr, "has a host that is not ASCII: write it in punycode (xn--…)"
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		switch {
		case err != nil:
			return netip.Addr{}, "has an IPv6 address that is not valid"
		case addr.Zone() != "":
			return netip.Addr{}, internalProblem
		}
		return addr, ""
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), ""
	}
	if last := host[strings.LastIndexByte(host, '.')+1:]; !isNumber(last) {
		return addr, "" // a name
	}
	addr, ok := parseIPv4(host)
	if !ok {
		return netip.Addr{}, "has an IPv4 address that is not valid"
	}
	return addr, ""
}

// MayFetch says whether a topology may be fetched from the address: a public one, or one in a network that the host allows.
func MayFetch(addr netip.Addr, allowed []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range allowed {
		if p.Contains(addr) {
			return true
		}
	}
	return !InternalAddress(addr)
}

// isNumber says whether a C library takes the last part of a host for a number, and so the host for an address.
func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// parseIPv4 reads an address as inet_aton of a C library does: one to four parts, each decimal, octal (0…) or hexadecimal
// (0x…), the last one filling what is left.
func parseIPv4(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var addr uint64
	for i, part := range parts {
		n, err := parsePart(part)
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if err != nil || n >= 1<<bits {
			return netip.Addr{}, false
		}
		addr = addr<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), true
}

func parsePart(s string) (uint64, error) {
	switch {
	case s == "0x": // some libraries take it for 0
		return 0, nil
	case strings.HasPrefix(s, "0x"):
		return strconv.ParseUint(s[2:], 16, 32)
	case strings.HasPrefix(s, "0"):
		return strconv.ParseUint(s, 8, 32)
	default:
		return strconv.ParseUint(s, 10, 32)
	}
}

// InternalAddress says whether an address is not one of the public internet, in whatever wrapping.
func InternalAddress(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.Is4() {
		return inAny(addr,
			"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
			"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
			"203.0.113.0/24", "224.0.0.0/3")
	}
	b := addr.As16()
	switch {
	case inAny(addr, "::/96", "64:ff9b::/96"): // IPv4-compatible, NAT64: the last four bytes; ::1 and :: too
		return InternalAddress(netip.AddrFrom4([4]byte(b[12:])))
	case inAny(addr, "2002::/16"): // 6to4
		return InternalAddress(netip.AddrFrom4([4]byte(b[2:6])))
	}
	// What is not global unicast, and of that Teredo and what is for documents.
	return !inAny(addr, "2000::/3") || inAny(addr, "2001::/32", "2001:db8::/32", "3fff::/20")
}

func inAny(addr netip.Addr, prefixes ...string) bool {
	for _, p := range prefixes {
		if netip.MustParsePrefix(p).Contains(addr) {
			return true
		}
	}
	return false
}
