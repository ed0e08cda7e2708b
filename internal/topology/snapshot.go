package topology

import (
	"cmp"
	"errors"
	"slices"

	"gopkg.in/yaml.v3"
)

// snapshot is what is read of Netlab's own data.
type snapshot struct {
	Version  text                    `yaml:"_netlab_version"`
	Name     text                    `yaml:"name"`
	Provider text                    `yaml:"provider"`
	Nodes    map[string]snapshotNode `yaml:"nodes"`
	Links    []snapshotLink          `yaml:"links"`
}

type snapshotNode struct {
	ID       number `yaml:"id"`
	Device   text   `yaml:"device"`
	Provider text   `yaml:"provider"`
	Box      text   `yaml:"box"`
	Role     text   `yaml:"role"`
	Mgmt     struct {
		Name text    `yaml:"ifname"`
		IPv4 address `yaml:"ipv4"`
		IPv6 address `yaml:"ipv6"`
		MAC  text    `yaml:"mac"`
	} `yaml:"mgmt"`
	Loopback   *snapshotInterface  `yaml:"loopback"`
	Interfaces []snapshotInterface `yaml:"interfaces"`
}

type snapshotInterface struct {
	Ifname      text    `yaml:"ifname"`
	Description text    `yaml:"name"`
	Type        text    `yaml:"type"`
	Link        number  `yaml:"linkindex"`
	IPv4        address `yaml:"ipv4"`
	IPv6        address `yaml:"ipv6"`
	VLAN        vlan    `yaml:"vlan"`
	Neighbors   []end   `yaml:"neighbors"`
}

type snapshotLink struct {
	Index  number `yaml:"linkindex"`
	Name   text   `yaml:"name"`
	Own    text   `yaml:"_linkname"`
	Type   text   `yaml:"type"`
	Role   text   `yaml:"role"`
	Bridge text   `yaml:"bridge"`
	VLAN   vlan   `yaml:"vlan"`
	Ends   []end  `yaml:"interfaces"`
	Prefix prefix `yaml:"prefix"`
}

// end is an interface as a link or a neighbor has it.
type end struct {
	Node   text    `yaml:"node"`
	Ifname text    `yaml:"ifname"`
	IPv4   address `yaml:"ipv4"`
	IPv6   address `yaml:"ipv6"`
}

// topology says what the snapshot has in words of its own.
func (s *snapshot) topology() (*Topology, error) {
	if s.Nodes == nil {
		return nil, errors.New("it has no nodes")
	}
	t := &Topology{Name: string(s.Name), Provider: string(s.Provider), Netlab: string(s.Version), Nodes: []Node{}, Links: []Link{}}
	for name, n := range s.Nodes {
		t.Nodes = append(t.Nodes, n.node(name, t.Provider))
	}
	slices.SortFunc(t.Nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name)) })
	for _, l := range s.Links {
		t.Links = append(t.Links, Link{
			Index: int(l.Index), Name: cmp.Or(string(l.Name), string(l.Own)), Type: string(l.Type), Role: string(l.Role), Bridge: string(l.Bridge),
			VLAN: string(l.VLAN), Nodes: neighbors(l.Ends), Prefix: Prefix(l.Prefix),
		})
	}
	return t, nil
}

func (n *snapshotNode) node(name, provider string) Node {
	node := Node{
		Name: name, ID: int(n.ID), Device: string(n.Device), Provider: cmp.Or(string(n.Provider), provider), Image: string(n.Box), Role: string(n.Role),
		Mgmt:       Mgmt{Interface: string(n.Mgmt.Name), IPv4: string(n.Mgmt.IPv4), IPv6: string(n.Mgmt.IPv6), MAC: string(n.Mgmt.MAC)},
		Interfaces: []Interface{},
	}
	if n.Loopback != nil {
		loopback := n.Loopback.endpoint()
		node.Loopback = &loopback
	}
	for _, i := range n.Interfaces {
		node.Interfaces = append(node.Interfaces, Interface{
			Endpoint: i.endpoint(), Description: string(i.Description), Type: string(i.Type), Link: int(i.Link), VLAN: string(i.VLAN), Neighbors: neighbors(i.Neighbors),
		})
	}
	return node
}

func (i *snapshotInterface) endpoint() Endpoint {
	return Endpoint{Name: string(i.Ifname), IPv4: string(i.IPv4), IPv6: string(i.IPv6)}
}

func neighbors(ends []end) []Neighbor {
	list := make([]Neighbor, 0, len(ends))
	for _, e := range ends {
		list = append(list, Neighbor{Node: string(e.Node), Interface: string(e.Ifname), IPv4: string(e.IPv4), IPv6: string(e.IPv6)})
	}
	return list
}

// text is a scalar as it is written; anything else is none.
type text string

// UnmarshalYAML never fails.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*t = text(n.Value)
	}
	return nil
}

// address is one, or "unnumbered", which Netlab writes as true.
type address string

// UnmarshalYAML never fails.
func (a *address) UnmarshalYAML(n *yaml.Node) error {
	var on bool
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
	case n.Tag == "!!bool":
		if n.Decode(&on) == nil && on {
			*a = "unnumbered"
		}
	default:
		*a = address(n.Value)
	}
	return nil
}

// number is a whole number; anything else is 0.
type number int

// UnmarshalYAML never fails.
func (v *number) UnmarshalYAML(n *yaml.Node) error {
	var value int
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" && n.Decode(&value) == nil {
		*v = number(value)
	}
	return nil
}

// vlan is the name of the one that an interface or a link is in.
type vlan string

// UnmarshalYAML never fails.
func (v *vlan) UnmarshalYAML(n *yaml.Node) error {
	var known struct {
		Access text `yaml:"access"`
		Name   text `yaml:"name"`
	}
	if n.Kind == yaml.MappingNode && n.Decode(&known) == nil {
		*v = vlan(cmp.Or(known.Access, known.Name))
	}
	return nil
}

// prefix is a link's: false where it has none.
type prefix Prefix

// UnmarshalYAML never fails.
func (p *prefix) UnmarshalYAML(n *yaml.Node) error {
	var known struct {
		IPv4 address `yaml:"ipv4"`
		IPv6 address `yaml:"ipv6"`
	}
	if n.Kind == yaml.MappingNode && n.Decode(&known) == nil {
		p.IPv4, p.IPv6 = string(known.IPv4), string(known.IPv6)
	}
	return nil
}
