package bundle

import "path"

// tree is what a bundle's entries make together.
type tree struct {
	limits Limits
	// nodes are the directories and files by path; the value tells what is known of each.
	nodes map[string]node
}

type node int

const (
	// implied is a directory that only the path of something in it has named.
	implied node = iota + 1
	directory
	file
)

func newTree(l Limits) *tree { return &tree{limits: l, nodes: make(map[string]node)} }

// add takes an entry by the name that the archive gives it and returns its path; "." for the top itself, which is nothing
// to unpack.
func (t *tree) add(name string, dir bool) (string, error) {
	p, err := clean(name, t.limits)
	if err != nil {
		return "", err
	}
	if p == "." {
		if !dir {
			return "", refuse(name, "is a file and the name of a directory: pack it again")
		}
		return p, nil
	}
	if why := reserved(p, dir); why != "" {
		return "", refuse(name, "%s", why)
	}
	for above := path.Dir(p); above != "."; above = path.Dir(above) {
		switch t.nodes[above] {
		case file:
			return "", refuse(name, "lies in %s, which is a file: pack it again", shown(above))
		case 0:
			t.nodes[above] = implied
		}
	}
	switch known := t.nodes[p]; {
	case known == directory && dir, known == file && !dir:
		return "", refuse(name, "is there twice: pack every file once")
	case known != 0 && known != implied, known == implied && !dir:
		return "", refuse(name, "is a file and a directory at once: pack it again")
	}
	t.nodes[p] = file
	if dir {
		t.nodes[p] = directory
	}
	if len(t.nodes) > t.limits.Files {
		return "", refuse(name, "is one too many: a bundle may have %d files and directories", t.limits.Files)
	}
	return p, nil
}
