// Package topology reads the topology of a lab from the snapshot that Netlab leaves of it as YAML: its nodes, their links, and
// every address. It trusts nothing in it: a snapshot is a file of a user's.
package topology

// Topology is a lab as Netlab has made it. A text that is not there is empty, never absent.
type Topology struct {
	// Name is the lab's.
	Name string `json:"name"`
	// Provider is the one of nodes that name none.
	Provider string `json:"provider"`
	// Netlab is the version that made the lab.
	Netlab string `json:"netlab"`
	// Nodes are in the order of Netlab's ids.
	Nodes []Node `json:"nodes"`
	// Links are in Netlab's order.
	Links []Link `json:"links"`
}

// Node is a device of the lab.
type Node struct {
	Name string `json:"name"`
	// ID is Netlab's number of it.
	ID int `json:"id"`
	// Device is Netlab's name of the kind.
	Device   string `json:"device"`
	Provider string `json:"provider"`
	// Image is the container's, or the box of a virtual machine.
	Image string `json:"image"`
	// Role is router, host, bridge, or empty.
	Role string `json:"role"`
	Mgmt Mgmt   `json:"mgmt"`
	// Loopback is null where the node has none.
	Loopback *Endpoint `json:"loopback"`
	// Interfaces are all but the loopback, those without a link of their own (VLANs, tunnels) among them.
	Interfaces []Interface `json:"interfaces"`
}

// Mgmt is where the node is managed.
type Mgmt struct {
	// Interface is the device's own name of it.
	Interface string `json:"interface"`
	IPv4      string `json:"ipv4"`
	IPv6      string `json:"ipv6"`
	MAC       string `json:"mac"`
}

// Endpoint is a named interface with its addresses, each with its prefix length, or "unnumbered".
type Endpoint struct {
	Name string `json:"name"`
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}

// Interface of a node.
type Interface struct {
	// Endpoint has the device's own name of it.
	Endpoint
	// Description is Netlab's, such as "r1 -> r2".
	Description string `json:"description"`
	// Type is p2p, lan, stub, svi, vlan_member, loopback, …
	Type string `json:"type"`
	// Link is the index of its link, 0 for none.
	Link int `json:"link"`
	// VLAN is the one that it is in, empty for none.
	VLAN      string     `json:"vlan"`
	Neighbors []Neighbor `json:"neighbors"`
}

// Neighbor is a node's end of a link.
type Neighbor struct {
	Node      string `json:"node"`
	Interface string `json:"interface"`
	IPv4      string `json:"ipv4"`
	IPv6      string `json:"ipv6"`
}

// Link between nodes.
type Link struct {
	// Index is Netlab's number of it, which interfaces name.
	Index int    `json:"index"`
	Name  string `json:"name"`
	// Type is p2p, lan, stub, loopback, …
	Type string `json:"type"`
	Role string `json:"role"`
	// Bridge is the network of the host that carries it, empty where it needs none.
	Bridge string `json:"bridge"`
	VLAN   string `json:"vlan"`
	// Nodes are its ends.
	Nodes  []Neighbor `json:"nodes"`
	Prefix Prefix     `json:"prefix"`
}

// Prefix is what a link's addresses are of.
type Prefix struct {
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}
