package bundle

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxElement is Linux's.
const maxElement = 255

// clean checks the words of an entry's name and returns its path, "." for the bundle's own top.
func clean(name string, l Limits) (string, error) {
	switch {
	case !utf8.ValidString(name):
		return "", refuse(name, "has a name that is not UTF-8: rename it, or pack it on a system that uses UTF-8")
	case strings.ContainsFunc(name, unshowable):
		return "", refuse(name, "has a control character in its name: rename it")
	case name == "":
		return "", refuse("", "the bundle has an entry without a name: pack it again")
	case strings.HasPrefix(name, "/"):
		return "", refuse(name, "is an absolute path: pack it relative to the lab's directory")
	case strings.Contains(name, `\`):
		return "", refuse(name, `has a '\' in its name: pack it with '/' between directories`)
	case len(name) > 1 && name[1] == ':' && unicode.IsLetter(rune(name[0])):
		return "", refuse(name, "begins with a drive letter: pack it relative to the lab's directory")
	case len(name) > l.Name:
		return "", refuse(name, "has a path of %d bytes: use at most %d", len(name), l.Name)
	}
	depth := 0
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "..":
			return "", refuse(name, "has a '..' in it: pack it relative to the lab's directory")
		case len(element) > maxElement:
			return "", refuse(name, "has a name of %d bytes in it: use at most %d", len(element), maxElement)
		case element != "" && element != ".":
			depth++
		}
	}
	if depth > l.Depth {
		return "", refuse(name, "lies %d directories deep: use at most %d", depth, l.Depth)
	}
	return path.Clean(name), nil
}

// unshowable is a rune that no name needs and that makes a terminal or a log show something else than what is there.
func unshowable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

const (
	asks = ", so it cannot come from outside: leave it out"
	// What runs or is cleaned up by them would be somebody else's word on which lab is there.
	generated = ", which generates it from the topology and deletes it with the lab: leave it out (`netlab down --cleanup` takes such files away)"
)

// reservedAnywhere are names that this service and Netlab believe what they say, in whatever directory: Netlab unpickles a
// snapshot, which runs what is in it.
var reservedAnywhere = []struct{ pattern, text string }{ //nolint:gochecknoglobals // a table that is never written
	{"netlab.snapshot.*", "is Netlab's record of a lab that it made" + asks},
	{"netlab.lock", "says that a lab runs" + asks},
	{".netlab-inputs.json", "is this service's record of a lab that it made" + asks},
	{".collected", "says that collect made its directory and may delete it" + asks},
	{temporaryPrefix + "*", "is a name that this service unpacks under: rename it"},
}

// reservedAtTop are what Netlab and containerlab make in the working directory itself. A bundle's clab.yml would name the
// containers that are taken down.
var reservedAtTop = []struct { //nolint:gochecknoglobals // a table that is never written
	pattern string
	// folder says that only a directory of that name is meant.
	folder bool
}{
	{"clab.yml", false},
	{"clab-augment.yml", false},
	{"clab-*", true},
	{"clab_files", false},
	{"Vagrantfile", false},
	{".vagrant", false},
	{"external.txt", false},
	{"hosts.yml", false},
	{"ansible.cfg", false},
	{"group_vars", false},
	{"host_vars", false},
	{"node_files", false},
	{".netlab", false},
}

// reserved says why the entry's name may not come from outside, "" where it may.
func reserved(p string, dir bool) string {
	first, rest, below := strings.Cut(p, "/")
	for _, r := range reservedAtTop {
		if ok, _ := path.Match(r.pattern, first); ok && (!r.folder || below || dir) {
			return "belongs to Netlab" + generated
		}
	}
	for ; first != ""; first, rest, _ = strings.Cut(rest, "/") {
		for _, r := range reservedAnywhere {
			if ok, _ := path.Match(r.pattern, first); ok {
				return r.text
			}
		}
	}
	return ""
}
