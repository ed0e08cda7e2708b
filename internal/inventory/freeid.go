package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// What Netlab's plugin multilab makes of an id.
const (
	lastID          = 199
	multilabPrefix  = "ml-"
	multilabNetwork = "nl_mgmt_"
)

// defaultNetwork is the management network of labs without multilab: the id whose network it is fits beside none of them.
var defaultNetwork = netip.MustParsePrefix("192.168.121.0/24") //nolint:gochecknoglobals // a constant

// multilabID is the number that a text is, 0 where it is none from 1 to 199 in its shortest form.
func multilabID(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > lastID || strconv.Itoa(n) != text {
		return 0
	}
	return n
}

// FreeID returns the lowest multilab id that no lab of the listing (ghosts among them) and no claim has, and whose network
// meets none of theirs and none of this machine's.
func (l *Listing) FreeID(claims []Identity) (int, error) {
	taken := map[int]bool{}
	networks := append([]netip.Prefix{defaultNetwork}, l.local...)
	take := func(id Identity) {
		taken[multilabID(id.Instance)] = true
		taken[multilabID(strings.TrimPrefix(id.Name, multilabPrefix))] = true
		for _, network := range id.Networks {
			for _, name := range []string{network.Name, network.Bridge} {
				taken[multilabID(strings.TrimPrefix(name, multilabNetwork))] = true
			}
			if prefix, ok := network.prefix(); ok {
				networks = append(networks, prefix)
			}
		}
	}
	for _, lab := range l.Labs {
		take(lab.Identity)
	}
	for _, claim := range claims {
		take(claim)
	}
	for n := 1; n <= lastID; n++ {
		if !taken[n] && !overlapsAny(netip.MustParsePrefix(fmt.Sprintf("192.168.%d.0/24", n)), networks) {
			return n, nil
		}
	}
	return 0, errors.New("every multilab id from 1 to 199 is taken on this host: take a lab down first")
}

func overlapsAny(prefix netip.Prefix, others []netip.Prefix) bool {
	for _, other := range others {
		if prefix.Overlaps(other) {
			return true
		}
	}
	return false
}
