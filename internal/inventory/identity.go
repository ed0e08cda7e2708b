// Package inventory knows the labs of this machine, whoever started them: from Netlab's status files of every user, from the
// labs' own files, and from Docker. All of that is data of other people's, read with their rights and within bounds.
package inventory

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Identity is what a lab takes of its host: what two labs must not share.
type Identity struct {
	// Instance is Netlab's id of the lab: a multilab id, or "default".
	Instance string `json:"instance"`
	// Name is the lab's name, which containerlab knows for the whole host.
	Name string `json:"name"`
	// Dir is the lab's directory, its real path.
	Dir string `json:"dir"`
	// MovedFrom is where the lab was started, if its directory was moved since; else empty. It is taken down before this one
	// starts.
	MovedFrom string `json:"movedFrom,omitempty"`
	// Provider is Netlab's provider of most nodes.
	Provider string `json:"provider"`
	// StatusFile is Netlab's status file that lists the lab, see StatusFile. Empty: the one in the home of who owns Dir.
	StatusFile string `json:"statusFile,omitempty"`
	// Containers are the names of the lab's containers.
	Containers []string `json:"containers"`
	// Networks are Docker's networks that the containers are in.
	Networks []Network `json:"networks"`
	// Addresses are the containers' in these networks.
	Addresses []string `json:"addresses"`
	// Bridges are the host's bridges that links of the lab use.
	Bridges []string `json:"bridges"`
}

// Network is a network of Docker's.
type Network struct {
	Name string `json:"name"`
	// Bridge is the network's bridge on the host, empty where it is not known.
	Bridge string `json:"bridge"`
	// Subnet is the IPv4 subnet, empty where it is not known.
	Subnet string `json:"subnet"`
}

// StatusFile is the path of Netlab's own status file of a user with that home.
func StatusFile(home string) string { return filepath.Join(home, ".netlab", "status.yaml") }

// Bounds of what Check lets pass, and of what is read.
const (
	longestName = 255
	longestPath = 4096
	// mostNames is far above what a host can run.
	mostNames = 20_000
)

// Check returns an error for what no lab can have: it names the field.
func (id Identity) Check() error {
	for field, text := range map[string]string{"instance": id.Instance, "name": id.Name, "provider": id.Provider} {
		if err := checkName(field, text); err != nil {
			return err
		}
	}
	for field, path := range map[string]string{"dir": id.Dir, "statusFile": id.StatusFile, "movedFrom": id.MovedFrom} {
		if len(path) > longestPath || !plain(path) || path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("the lab's %s, %q, is no absolute path", field, shown(path))
		}
	}
	for field, names := range map[string][]string{"containers": id.Containers, "addresses": id.Addresses, "bridges": id.Bridges} {
		if len(names) > mostNames {
			return fmt.Errorf("the lab has more than %d %s", mostNames, field)
		}
		for _, name := range names {
			if err := checkName(field, name); err != nil {
				return err
			}
		}
	}
	for _, address := range id.Addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return fmt.Errorf("the lab's addresses: %q is none", shown(address))
		}
	}
	if len(id.Networks) > mostNames {
		return fmt.Errorf("the lab has more than %d networks", mostNames)
	}
	for _, network := range id.Networks {
		for _, text := range []string{network.Name, network.Bridge, network.Subnet} {
			if err := checkName("networks", text); err != nil {
				return err
			}
		}
		if _, ok := network.prefix(); !ok && network.Subnet != "" {
			return fmt.Errorf("the lab's networks: the subnet %q of %s is none, write it as 192.168.121.0/24", shown(network.Subnet), shown(network.Name))
		}
	}
	return nil
}

func checkName(field, text string) error {
	if len(text) > longestName || !plain(text) {
		return fmt.Errorf("the lab's %s: %q cannot be used, it has more than %d bytes or characters that are not printed", field, shown(text), longestName)
	}
	return nil
}

func (n Network) prefix() (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(n.Subnet)
	return prefix.Masked(), err == nil
}

// plain says whether a text can be shown as it is.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable)
}

// unprintable are control characters, and those that change the order or the look of others.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// shown is a text of other people's as a text of ours can have it: on one line, and not too long.
func shown(text string) string {
	const longest = 300
	text = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	if len(text) <= longest {
		return text
	}
	cut := longest
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
