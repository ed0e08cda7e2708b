package inventory

import (
	"fmt"
	"slices"
)

// put makes the listing's labs of what status files and Docker say.
func (l *Listing) put(sources []source, seen sightings) {
	l.NoDocker = seen.noDocker
	l.Problems = seen.problems
	var labs []*Lab
	topologies := map[*Lab]*topology{}
	for _, s := range sources {
		l.Problems = append(l.Problems, s.problems...)
		for _, lab := range s.labs {
			labs = append(labs, lab)
			if t := s.topologies[lab.Instance]; t != nil {
				topologies[lab] = t
				lab.label = t.name
			}
			if lab.label == "" {
				lab.label = lab.Name
			}
		}
	}
	listed := len(labs)
	for _, g := range seen.groups {
		lab := g.belongsTo(labs[:listed])
		if lab == nil {
			lab = g.lab
			labs = append(labs, lab)
		}
		if topologies[lab] == nil && g.top != nil {
			topologies[lab] = g.top
		}
		lab.add(g, seen.networks)
	}
	keys := map[string]bool{}
	for _, lab := range labs {
		lab.complete(topologies[lab])
		lab.Ghost = lab.isGhost(l.NoDocker == "")
		lab.Key = keyOf(lab, keys)
		keys[lab.Key] = true
		l.Labs = append(l.Labs, *lab)
	}
}

// belongsTo finds the lab that the containers are of: the one in their directory. Of several there it is rather the one of the
// directory's owner (a status file can name any directory), then the one of the containers' name.
func (g *group) belongsTo(labs []*Lab) (found *Lab) {
	best := -1
	for _, lab := range labs {
		inPlace := lab.Dir != "" && lab.Dir == g.lab.Dir
		if !inPlace && (g.file != "" || lab.label != g.name) {
			continue
		}
		fit := 0
		if lab.uid == g.lab.uid {
			fit += 2
		}
		if lab.label == g.name {
			fit++
		}
		if fit > best {
			found, best = lab, fit
		}
	}
	return found
}

// add counts the containers in.
func (l *Lab) add(g *group, networks map[string]network) {
	l.label = g.name
	for _, c := range g.containers {
		l.Total++
		if c.running {
			l.Running++
		}
		l.Containers = append(l.Containers, c.name)
		for _, name := range c.networks {
			n, ok := networks[name]
			if !ok {
				n.Network = Network{Name: name}
			}
			if !slices.ContainsFunc(l.Networks, func(known Network) bool { return known.Name == name }) {
				l.Networks = append(l.Networks, n.Network)
			}
			if address := n.addresses[c.name]; address != "" {
				l.Addresses = append(l.Addresses, address)
			}
		}
	}
}

// complete adds what the lab's topology file says. Where there are containers, they tell what is true, and the file only adds
// what Docker does not say, if it is still theirs.
func (l *Lab) complete(t *topology) {
	if l.Name == "" || l.Total > 0 {
		l.Name = l.label
	}
	if t == nil || l.Total > 0 && t.name != l.label {
		return
	}
	id := t.identity()
	l.Name = id.Name
	l.Bridges = id.Bridges
	l.Addresses = union(l.Addresses, id.Addresses)
	if l.Total == 0 {
		l.Containers, l.Networks = id.Containers, id.Networks
		return
	}
	for i, n := range l.Networks {
		if n.Name == t.network.Name {
			l.Networks[i].Subnet = first(n.Subnet, t.network.Subnet)
			l.Networks[i].Bridge = first(n.Bridge, t.network.Bridge)
		}
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// isGhost says whether nothing but the entry is left.
func (l *Lab) isGhost(dockerKnown bool) bool {
	if l.Entry == nil || l.Total > 0 {
		return false
	}
	if l.Status == "" {
		return !l.snapshot
	}
	return dockerKnown && l.onlyContainers() && (l.Gone || !l.snapshot && !l.locked && !l.beginning())
}

// keyOf is a name for the lab that none of the taken is.
func keyOf(lab *Lab, taken map[string]bool) string {
	key := lab.Instance
	if taken[key] {
		key = fmt.Sprintf("%s@%s", lab.Instance, lab.User)
	}
	base := key
	for n := 2; taken[key]; n++ {
		key = fmt.Sprintf("%s#%d", base, n)
	}
	return key
}
