package inventory

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// identity is a lab of containers.
func identity(dir string, change ...func(*Identity)) Identity {
	id := Identity{
		Instance: "default", Name: "one", Dir: dir, Provider: "clab", StatusFile: "/home/ann/.netlab/status.yaml",
		Containers: []string{"clab-one-r1", "clab-one-r2"}, Networks: []Network{{"netlab_mgmt", "br-1", "192.168.121.0/24"}},
		Addresses: []string{"192.168.121.101", "192.168.121.102"}, Bridges: []string{"one_1"},
	}
	for _, c := range change {
		c(&id)
	}
	return id
}

// apart is a lab that shares nothing with the one of identity.
func apart(dir string, change ...func(*Identity)) Identity {
	return identity(dir, append([]func(*Identity){func(id *Identity) {
		*id = Identity{
			Instance: "default", Name: "two", Dir: dir, Provider: "clab", StatusFile: "/home/bob/.netlab/status.yaml",
			Containers: []string{"clab-two-r1"}, Networks: []Network{{"other", "br-2", "10.1.0.0/24"}},
			Addresses: []string{"10.1.0.101"}, Bridges: []string{"two_1"},
		}
	}}, change...)...)
}

func TestClash(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(id *Identity)
		// what is in the error's text; empty: no clash.
		what string
	}{
		"nothing in common": {func(*Identity) {}, ""},
		"a container":       {func(id *Identity) { id.Containers = []string{"clab-two-r1", "clab-one-r2"} }, "container with the name clab-one-r2"},
		"the name":          {func(id *Identity) { id.Name = "one" }, "the name one"},
		"the name, but nothing for containerlab": {func(id *Identity) {
			id.Name, id.Containers, id.Networks, id.Addresses, id.Bridges = "one", nil, nil, nil, nil
		}, ""},
		"a bridge": {func(id *Identity) { id.Bridges = []string{"one_1"} }, "bridge with the name one_1"},
		"subnets that overlap": {func(id *Identity) {
			id.Networks = []Network{{"other", "", "192.168.0.0/16"}}
		}, "overlaps with 192.168.0.0/16 of other"},
		"the network with another subnet": {func(id *Identity) {
			id.Networks = []Network{{"netlab_mgmt", "", "192.168.122.0/24"}}
		}, "another subnet, 192.168.121.0/24 and not 192.168.122.0/24"},
		"the network and no address": {func(id *Identity) {
			id.Networks, id.Addresses = []Network{{"netlab_mgmt", "", "192.168.121.0/24"}}, []string{"192.168.121.201"}
		}, ""},
		"the network and an address": {func(id *Identity) {
			id.Networks, id.Addresses = []Network{{"netlab_mgmt", "", "192.168.121.0/24"}}, []string{"192.168.121.102"}
		}, "address 192.168.121.102"},
		"an address in another network": {func(id *Identity) { id.Addresses = []string{"192.168.121.102"} }, ""},
		"the network's bridge": {func(id *Identity) {
			id.Networks = []Network{{"other", "br-1", "10.1.0.0/24"}}
		}, "same bridge, br-1"},
		"the entry":            {func(id *Identity) { id.StatusFile = "/home/ann/.netlab/status.yaml" }, "Netlab's id default"},
		"the file, another id": {func(id *Identity) { id.StatusFile, id.Instance = "/home/ann/.netlab/status.yaml", "7" }, ""},
		"an unwritten subnet":  {func(id *Identity) { id.Networks = []Network{{Name: "netlab_mgmt"}} }, ""},
	}
	for name, test := range tests {
		id := apart("/home/bob/two", test.change)
		lab := Lab{Identity: identity("/home/ann/one"), Key: "default", User: "ann", Status: "started", Total: 2, Running: 2, uid: 1}
		check := func(against string, err error) {
			var clash *ClashError
			switch {
			case test.what == "" && err != nil:
				t.Errorf("%s, %s: %v", name, against, err)
			case test.what == "":
			case !errors.As(err, &clash):
				t.Errorf("%s, %s: no clash but %v", name, against, err)
			case !strings.Contains(clash.What, test.what) || clash.Dir != "/home/ann/one" || clash.Remedy == "" || !strings.Contains(err.Error(), "/home/ann/one"):
				t.Errorf("%s, %s: %v", name, against, err)
			}
		}
		check("a lab", (&Listing{Labs: []Lab{lab}}).Clash(id, nil))
		check("a claim", (&Listing{}).Clash(id, []Identity{lab.Identity}))
		same := id
		same.Dir = lab.Dir
		if err := (&Listing{Labs: []Lab{lab}}).Clash(same, []Identity{lab.Identity}); err != nil {
			t.Errorf("%s, in the same directory: %v", name, err)
		}
	}
}

// TestClashWithWhatIsLeft has labs in every state between up and gone.
func TestClashWithWhatIsLeft(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := map[string]struct {
		lab      Lab
		noDocker string
		clashes  bool
	}{
		"its containers run":                  {Lab{Status: "started", Total: 2, Running: 2}, "", true},
		"its containers are stopped":          {Lab{Status: "started", Total: 2}, "", true},
		"its containers have no entry":        {Lab{Total: 1}, "", true},
		"it is a ghost":                       {Lab{Ghost: true}, "", false},
		"it is about to start":                {Lab{Status: "starting provider clab", changed: now}, "", true},
		"its start died long ago":             {Lab{Status: "starting provider clab", changed: now.Add(-2 * starting)}, "", false},
		"its containers are gone":             {Lab{Status: "started", changed: now}, "", false},
		"its containers may be gone":          {Lab{Status: "started"}, "Docker is away", true},
		"its directory is somebody else's":    {Lab{Status: "started", Total: 2, Gone: true, uid: 12345678}, "", true},
		"its directory was moved by its user": {Lab{Status: "started", Total: 2, Gone: true, uid: 0}, "", false},
	}
	for name, test := range tests {
		lab := test.lab
		lab.Identity = identity("/elsewhere/one")
		lab.Key = "default"
		// The owner of / is root.
		id := identity("/nowhere/one", func(id *Identity) { id.StatusFile = "/other/status.yaml" })
		l := &Listing{Labs: []Lab{lab}, NoDocker: test.noDocker}
		err := l.Clash(id, nil)
		if (err != nil) != test.clashes {
			t.Errorf("%s: %v", name, err)
		}
		if lab.Gone && err != nil && !strings.Contains(err.Error(), "is gone") {
			t.Errorf("%s: %v", name, err)
		}
		// Its entry keeps the id, whatever is left.
		id.StatusFile = lab.StatusFile
		if err := l.Clash(id, nil); err == nil && !lab.Ghost && lab.uid+btoi(lab.Gone) != 1 {
			t.Errorf("%s: its id is free", name)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestClashFindsTheStatusFile has an identity that does not name it.
func TestClashFindsTheStatusFile(t *testing.T) {
	t.Parallel()
	lab := Lab{Identity: identity("/elsewhere/one"), Key: "default", Total: 1}
	l := &Listing{Labs: []Lab{lab}, homes: map[int]string{0: lab.StatusFile}}
	id := apart("/nowhere/two", func(id *Identity) { id.StatusFile = "" })
	if err := l.Clash(id, nil); err == nil {
		t.Error("the same user's second lab without an id is let through")
	}
	l.homes = map[int]string{0: "/another"}
	if err := l.Clash(id, nil); err != nil {
		t.Errorf("another user's: %v", err)
	}
}

func TestClashOfIDs(t *testing.T) {
	t.Parallel()
	lab := Lab{Identity: Identity{Instance: "7", Dir: "/a"}, Key: "7", Total: 1}
	l := &Listing{Labs: []Lab{lab}}
	if err := l.Clash(Identity{Instance: "7", Dir: "/b"}, nil); err == nil {
		t.Error("an id is had by two labs of the host")
	}
	if err := l.Clash(Identity{Instance: "8", Dir: "/b"}, []Identity{{Instance: "8", Dir: "/c"}}); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("an id is had by two jobs: %v", err)
	}
}

func TestFreeID(t *testing.T) {
	t.Parallel()
	l := &Listing{
		Labs: []Lab{
			{Identity: Identity{Instance: "1"}},
			{Identity: Identity{Instance: "2"}, Ghost: true},
			{Identity: Identity{Instance: "x", Name: "ml-3"}},
			{Identity: Identity{Networks: []Network{{Name: "a", Subnet: "192.168.4.128/25"}, {Name: "nl_mgmt_5"}, {Name: "b", Bridge: "nl_mgmt_6"}}}},
		},
		local: []netip.Prefix{netip.MustParsePrefix("192.168.8.0/23")},
	}
	id, err := l.FreeID([]Identity{{Instance: "7"}})
	if err != nil || id != 10 {
		t.Errorf("free is %d, %v, want 10", id, err)
	}
	var all []Identity
	for n := 1; n <= lastID; n++ {
		if n != 121 { // the network of labs without multilab
			all = append(all, Identity{Instance: strconv.Itoa(n)})
		}
	}
	if id, err := (&Listing{}).FreeID(all); err == nil {
		t.Errorf("free is %d where all are taken", id)
	}
	if id, err := (&Listing{}).FreeID(all[1:]); err != nil || id != 1 {
		t.Errorf("free is %d, %v, want 1", id, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := identity("/a/b").Check(); err != nil {
		t.Error(err)
	}
	for field, change := range map[string]func(id *Identity){
		"instance":   func(id *Identity) { id.Instance = "a\nb" },
		"name":       func(id *Identity) { id.Name = strings.Repeat("n", 256) },
		"dir":        func(id *Identity) { id.Dir = "relative" },
		"statusFile": func(id *Identity) { id.StatusFile = "relative" },
		"provider":   func(id *Identity) { id.Provider = "\xff" },
		"containers": func(id *Identity) { id.Containers = make([]string, mostNames+1) },
		"networks":   func(id *Identity) { id.Networks[0].Subnet = "x" },
		"addresses":  func(id *Identity) { id.Addresses = []string{"x"} },
		"bridges":    func(id *Identity) { id.Bridges = []string{"\u202e"} },
	} {
		id := identity("/a/b", change)
		if err := id.Check(); err == nil || !strings.Contains(err.Error(), field) || !plain(err.Error()) {
			t.Errorf("a wrong %s: %v", field, err)
		}
	}
}

// TestClashWithALabThatWasMoved has another name, since a lab is called like its directory.
func TestClashWithALabThatWasMoved(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from    string
		gone    bool
		uid     int
		clashes bool
	}{
		"from there":                             {"/elsewhere/one", true, 0, false},
		"from elsewhere":                         {"/elsewhere/two", true, 0, true},
		"from nowhere":                           {"", true, 0, true},
		"from a directory that is there":         {"/elsewhere/one", false, 0, true},
		"from a directory that another user had": {"/elsewhere/one", true, 12345678, true},
	} {
		lab := Lab{Key: "default", Identity: identity("/elsewhere/one"), Status: "started", Total: 2, Running: 2, Gone: test.gone, uid: test.uid}
		id := identity("/nowhere/renamed", func(id *Identity) { id.Name, id.MovedFrom = "renamed", test.from })
		if err := (&Listing{Labs: []Lab{lab}}).Clash(id, nil); (err != nil) != test.clashes {
			t.Errorf("%s: %v", name, err)
		}
	}
}
