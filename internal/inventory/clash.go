package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"netlab-runner/internal/account"
)

// ClashError is a lab that has what another one would take.
type ClashError struct {
	// Other is the lab that has it: its key, or its instance.
	Other string
	// Dir is that lab's directory.
	Dir string
	// User is whose lab that is, empty where it is not known, or is of a job under way.
	User string
	// What is what both would have.
	What string
	// Remedy is what to do about it.
	Remedy string
}

func (e *ClashError) Error() string {
	whose := ""
	if e.User != "" {
		whose = " of user " + shown(e.User)
	}
	return fmt.Sprintf("lab %s%s in %s has %s: %s", shown(e.Other), whose, shown(cmp.Or(e.Dir, "an unknown directory")), e.What, e.Remedy)
}

// Clash returns an error where a lab would take what another one has: a lab of this listing, or one of the claims, which are
// those of jobs under way. A lab in the same directory is never another one. *ClashError: the first that was found.
func (l *Listing) Clash(id Identity, claims []Identity) error {
	home := homeOf{listing: l}
	id.StatusFile = home.statusFile(id)
	for _, lab := range l.Labs {
		if lab.Dir != "" && lab.Dir == filepath.Clean(id.Dir) || lab.Ghost || lab.moved(id, &home) {
			continue
		}
		what, remedy := "", ""
		if lab.takes(l.NoDocker == "") {
			what, remedy = clash(id, lab.Identity)
		} else if sameEntry(id, lab.Identity) {
			what, remedy = entryClash(id)
		}
		if what != "" {
			return &ClashError{Other: lab.Key, Dir: lab.Dir, User: lab.User, What: what, Remedy: remedy + lab.takeDown()}
		}
	}
	for _, claim := range claims {
		if claim.Dir == id.Dir {
			continue
		}
		claim.StatusFile = home.statusFile(claim)
		if what, remedy := clash(id, claim); what != "" {
			return &ClashError{Other: claim.Instance, Dir: claim.Dir, What: what + ", for a job that is under way", Remedy: remedy}
		}
	}
	return nil
}

// takeDown is the end of a remedy.
func (l *Lab) takeDown() string {
	if l.Gone {
		return fmt.Sprintf(", or take that lab down, whose directory is gone (`destroy` with workdir %s%s)", shown(l.Dir), byHand)
	}
	if l.Dir == "" {
		return ", or remove its containers"
	}
	return fmt.Sprintf(", or take that lab down (`destroy` with workdir %s%s)", shown(l.Dir), byHand)
}

// byHand is for a lab that no job can take down: somebody started it elsewhere, or has put a file into its place.
const byHand = "; by hand where that is no directory below a root of this host's"

// moved says whether the lab is the one of this identity, whose directory was moved: the old one is gone, the owner is the same,
// and so is the name or, since a lab is named after its directory, the place that it was moved from.
func (l *Lab) moved(id Identity, home *homeOf) bool {
	same := l.Name == id.Name || l.Dir != "" && l.Dir == id.MovedFrom
	return l.Gone && same && l.uid >= 0 && l.uid == home.owner(id.Dir)
}

// homeOf finds out whose directories are.
type homeOf struct {
	listing *Listing
	owners  map[string]int
}

// owner is the number of who owns the directory, -1 where that cannot be told.
func (h *homeOf) owner(dir string) int {
	uid, ok := h.owners[dir]
	if ok {
		return uid
	}
	uid, err := account.OwnerOf(dir)
	if err != nil || dir == "" {
		uid = -1
	}
	if h.owners == nil {
		h.owners = map[string]int{}
	}
	h.owners[dir] = uid
	return uid
}

func (h *homeOf) statusFile(id Identity) string {
	if id.StatusFile != "" {
		return filepath.Clean(id.StatusFile)
	}
	return h.listing.homes[h.owner(id.Dir)]
}

// sameEntry says whether both labs would have the same entry of the same status file.
func sameEntry(a, b Identity) bool {
	return a.Instance != "" && a.Instance == b.Instance && a.StatusFile != "" && a.StatusFile == b.StatusFile
}

func entryClash(id Identity) (what, remedy string) {
	return fmt.Sprintf("Netlab's id %s", shown(id.Instance)), "give this lab an id of its own (plugin multilab and multilabId)"
}

// clash says what the lab a would take of what b has, and what else a could take. Empty: nothing.
func clash(a, b Identity) (what, remedy string) {
	const rename = "give this lab another name (name in the topology, or another directory), or an id of its own (plugin multilab and multilabId)"
	const renumber = "give this lab an id of its own (plugin multilab and multilabId)"
	if sameEntry(a, b) || multilabID(a.Instance) > 0 && a.Instance == b.Instance {
		return entryClash(a)
	}
	for _, name := range a.Containers {
		if slices.Contains(b.Containers, name) {
			return "a container with the name " + shown(name), rename
		}
	}
	if len(a.Containers) > 0 && len(b.Containers) > 0 && a.Name != "" && a.Name == b.Name {
		return "the name " + shown(a.Name) + ", too, which containerlab knows once", rename
	}
	for _, bridge := range a.Bridges {
		if slices.Contains(b.Bridges, bridge) {
			return "a bridge with the name " + shown(bridge), rename
		}
	}
	shared := false
	for _, mine := range a.Networks {
		for _, theirs := range b.Networks {
			if what := networkClash(mine, theirs); what != "" {
				return what, renumber + ", or another management network (addressing.mgmt in the topology)"
			}
			shared = shared || mine.Name == theirs.Name
		}
	}
	if address, ok := commonAddress(a.Addresses, b.Addresses); ok && shared {
		return "the address " + address + " in the same management network", renumber + ", or other management addresses (addressing.mgmt.start in the topology)"
	}
	return "", ""
}

func networkClash(a, b Network) string {
	subnetA, knownA := a.prefix()
	subnetB, knownB := b.prefix()
	known := knownA && knownB
	switch {
	case a.Name == b.Name && known && subnetA != subnetB:
		return fmt.Sprintf("the network %s with another subnet, %s and not %s", shown(b.Name), subnetB, subnetA)
	case a.Name == b.Name:
		return ""
	case known && subnetA.Overlaps(subnetB):
		return fmt.Sprintf("the network %s, whose subnet %s overlaps with %s of %s", shown(b.Name), subnetB, subnetA, shown(a.Name))
	case a.Bridge != "" && a.Bridge == b.Bridge:
		return fmt.Sprintf("the network %s on the same bridge, %s", shown(b.Name), shown(a.Bridge))
	default:
		return ""
	}
}

func commonAddress(a, b []string) (string, bool) {
	taken := map[netip.Addr]bool{}
	for _, text := range b {
		if address, err := netip.ParseAddr(text); err == nil {
			taken[address] = true
		}
	}
	for _, text := range a {
		if address, err := netip.ParseAddr(text); err == nil && taken[address] {
			return address.String(), true
		}
	}
	return "", false
}
