package inventory

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// topologyFile is containerlab's topology file in a lab's directory, made by Netlab.
const topologyFile = "clab.yml"

// topology is what containerlab's topology file says of a lab.
type topology struct {
	name       string
	network    Network
	containers []string
	addresses  []string
	bridges    []string
}

// parseTopology reads a containerlab topology file.
func parseTopology(text []byte) (*topology, error) {
	value, err := parse(text)
	if err != nil {
		return nil, err
	}
	file, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it holds no map")
	}
	t := &topology{name: asText(file["name"])}
	if t.name == "" {
		return nil, errors.New("it names no lab")
	}
	// What containerlab takes where the file says nothing.
	mgmt := asMap(file["mgmt"])
	t.network = Network{
		Name:   cmp.Or(asText(mgmt["network"]), "clab"),
		Bridge: asText(mgmt["bridge"]),
		Subnet: cmp.Or(asText(mgmt["ipv4-subnet"]), "172.20.20.0/24"),
	}
	prefix := "clab"
	if value, ok := file["prefix"]; ok {
		prefix = asText(value)
	}
	for name, value := range asMap(asMap(file["topology"])["nodes"]) {
		node := asMap(value)
		switch asText(node["kind"]) {
		case "bridge", "ovs-bridge":
			t.bridges = append(t.bridges, name)
			continue
		case "host", "macvlan":
			continue
		}
		t.containers = append(t.containers, containerOf(prefix, t.name, name))
		if address, _, _ := strings.Cut(asText(node["mgmt-ipv4"]), "/"); address != "" {
			t.addresses = append(t.addresses, address)
		}
	}
	slices.Sort(t.containers)
	slices.Sort(t.addresses)
	slices.Sort(t.bridges)
	return t, t.identity().Check()
}

// containerOf is how containerlab calls a node's container.
func containerOf(prefix, lab, node string) string {
	switch prefix {
	case "":
		return node
	case "__lab-name":
		return lab + "-" + node
	default:
		return prefix + "-" + lab + "-" + node
	}
}

// identity is the part of a lab's identity that the file has.
func (t *topology) identity() Identity {
	id := Identity{Name: t.name, Provider: providerClab, Containers: t.containers, Addresses: t.addresses, Bridges: t.bridges}
	if len(t.containers) > 0 {
		id.Networks = []Network{t.network}
	}
	return id
}
