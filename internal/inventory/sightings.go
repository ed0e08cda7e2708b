package inventory

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"netlab-runner/internal/account"
)

// sightings are what Docker has of labs.
type sightings struct {
	// noDocker is why Docker cannot be asked, empty where it has answered.
	noDocker string
	groups   []*group
	networks map[string]network
	problems []string
}

// group are the containers of one lab.
type group struct {
	name string
	// file is the topology file that they were made from, empty where it is not known.
	file       string
	containers []container
	// lab is what there would be of a lab of these containers alone; top is what its file says, or nil.
	lab *Lab
	top *topology
}

// askDocker asks for containers, their networks, and whose they are.
func (h *Host) askDocker() (s sightings) {
	ctx, cancel := context.WithTimeout(context.Background(), dockerPatience)
	defer cancel()
	d, err := findDocker(h.Path)
	if err != nil {
		s.noDocker = err.Error()
		return s
	}
	containers, err := d.containers(ctx)
	if err != nil {
		s.noDocker = shown(err.Error())
		return s
	}
	s.groups = groupsOf(containers)
	var names []string
	for _, c := range containers {
		names = append(names, c.networks...)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return name == "host" || name == "none" || strings.HasPrefix(name, "-")
	})
	if len(names) > 0 {
		if s.networks, err = d.networks(ctx, names); err != nil {
			s.problems = append(s.problems, "Docker's networks: "+shown(err.Error()))
		}
	}
	each(len(s.groups), func(i int) {
		g := s.groups[i]
		value, err := h.reads.do("lab "+g.name+" "+g.file, func() any { return g.alone() })
		if found, ok := value.(*group); ok {
			s.groups[i] = found
			return
		}
		g.lab = g.bare()
		s.groups[i] = g
		_ = err // its file hangs: the containers are there all the same
	})
	return s
}

func groupsOf(containers []container) (groups []*group) {
	index := map[[2]string]*group{}
	for _, c := range containers {
		key := [2]string{c.lab, c.topology}
		if index[key] == nil {
			index[key] = &group{name: c.lab, file: c.topology}
			groups = append(groups, index[key])
		}
		index[key].containers = append(index[key].containers, c)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.file, b.file)
	})
	return groups
}

// bare is the lab as its containers alone tell of it.
func (g *group) bare() *Lab {
	lab := &Lab{uid: -1, Providers: []string{providerClab}}
	lab.Provider, lab.Instance = providerClab, g.name
	if id, ok := strings.CutPrefix(g.name, multilabPrefix); ok && multilabID(id) > 0 {
		lab.Instance = id
	}
	if filepath.IsAbs(g.file) {
		lab.Dir = filepath.Dir(filepath.Clean(g.file))
	}
	return lab
}

// alone returns the group with its lab, whose directory is looked at with the rights of who owns it.
func (g *group) alone() *group {
	found := *g
	found.lab = g.bare()
	if found.lab.Dir == "" {
		return &found
	}
	who, err := ownerOf(found.lab.Dir)
	if err != nil {
		return &found
	}
	found.lab.User, found.lab.uid = who.Name, who.UID
	found.top = enterAs(who, found.lab, filepath.Base(g.file))
	return &found
}

// enterAs looks at the lab's directory with the rights of the account. A file that cannot be used says nothing.
func enterAs(who *account.Account, lab *Lab, file string) (t *topology) {
	_ = who.Do(func() (err error) {
		t, err = lab.enter(lab.Dir, file)
		return err
	})
	return t
}
