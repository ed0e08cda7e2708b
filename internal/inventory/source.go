package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"netlab-runner/internal/account"
)

// mostLabs is how many labs of one status file are looked at.
const mostLabs = 500

// atOnce is how many status files are read at the same time, each by a thread with the rights of its user.
const atOnce = 16

// source is what a status file says, with what the labs' directories have.
type source struct {
	path string
	// who reads it: a home's account, or the file's owner.
	who  account.Account
	info fs.FileInfo
	labs []*Lab
	// topologies are by the labs' keys in the file.
	topologies map[string]*topology
	problems   []string
}

// readSources reads every status file that there is, in the order of Host.Homes, then of Host.StateFiles.
func (h *Host) readSources() []source {
	var sources []source
	known := map[string]bool{}
	add := func(path string, who *account.Account) {
		if path = filepath.Clean(path); !known[path] && filepath.IsAbs(path) {
			known[path] = true
			s := source{path: path, who: account.Account{UID: -1}}
			if who != nil {
				s.who = *who
			}
			sources = append(sources, s)
		}
	}
	if h.Homes != nil {
		for _, a := range h.Homes() {
			add(StatusFile(a.Home), &a)
		}
	}
	if h.StateFiles != nil {
		for _, path := range h.StateFiles() {
			add(path, nil)
		}
	}
	each(len(sources), func(i int) {
		s := sources[i]
		value, err := h.reads.do(s.path, func() any { return read(s) })
		if done, ok := value.(source); ok {
			sources[i] = done
		} else {
			sources[i].problems = []string{fmt.Sprintf("the status file %s: %v", shown(s.path), err)}
		}
	})
	// A file by two names has its labs once.
	for i := range sources {
		for j := range i {
			if a, b := sources[i].info, sources[j].info; a != nil && b != nil && os.SameFile(a, b) {
				sources[i].labs = nil
			}
		}
	}
	return sources
}

// each calls f with 0 to n-1, some at once, and waits.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// read reads a status file and the labs' directories, with the rights of who reads it.
func read(s source) source {
	if s.who.UID < 0 {
		who, err := ownerOf(s.path)
		if err != nil {
			s.problems = append(s.problems, fmt.Sprintf("the status file %s: %v", shown(s.path), err))
			return s
		}
		s.who = *who
	}
	err := s.who.Do(func() error {
		entries, info, err := readStatus(s.path)
		if err != nil {
			return err
		}
		s.info = info
		s.look(entries)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		s.problems = append(s.problems, shown(err.Error()))
	}
	return s
}

// ownerOf is the account of who owns the path or its nearest existing parent. One that the machine does not know has its number.
func ownerOf(path string) (*account.Account, error) {
	uid, err := account.OwnerOf(path)
	if err != nil {
		return nil, err
	}
	if uid == os.Geteuid() {
		return account.Self()
	}
	who, err := account.ByID(uid)
	var unknown *account.UnknownError
	if errors.As(err, &unknown) {
		// Of no group: the number of a group that nobody has.
		const nogroup = 65534
		return &account.Account{Name: fmt.Sprintf("#%d", uid), UID: uid, GID: nogroup}, nil
	}
	return who, err
}

// look makes labs of the entries, by their keys.
func (s *source) look(entries map[string]any) {
	s.topologies = map[string]*topology{}
	for _, key := range sortedKeys(entries) {
		if len(s.labs) == mostLabs {
			s.problems = append(s.problems, fmt.Sprintf("the status file %s has more than %d labs, of which the others are not looked at", shown(s.path), mostLabs))
			return
		}
		entry := asMap(entries[key])
		if entry == nil || key == "" || len(key) > longestName || !plain(key) {
			s.problems = append(s.problems, fmt.Sprintf("the status file %s: its entry %q is none of a lab", shown(s.path), shown(key)))
			continue
		}
		lab := &Lab{User: s.who.Name, uid: s.who.UID, Entry: entry}
		lab.Instance, lab.StatusFile, lab.Status = key, s.path, shown(asText(entry["status"]))
		if name := asText(entry["name"]); checkName("name", name) == nil {
			lab.Name = name
		}
		list, _ := entry["providers"].([]any)
		for _, provider := range list[:min(len(list), 100)] {
			lab.Providers = append(lab.Providers, shown(asText(provider)))
		}
		if len(lab.Providers) > 0 {
			lab.Provider = lab.Providers[0]
		}
		lab.changed = timeOf(entry["timestamp"])
		dir := asText(entry["dir"])
		if !filepath.IsAbs(dir) || len(dir) > longestPath || strings.ContainsRune(dir, 0) {
			s.problems = append(s.problems, fmt.Sprintf("the status file %s: the directory %q of lab %s is no absolute path", shown(s.path), shown(dir), key))
		} else if t, err := lab.enter(dir, topologyFile); err != nil {
			s.problems = append(s.problems, fmt.Sprintf("lab %s in %s: %s", key, shown(dir), shown(err.Error())))
		} else if t != nil {
			s.topologies[key] = t
		}
		s.labs = append(s.labs, lab)
	}
}

// enter finds out what is in the lab's directory. It returns what containerlab's topology file there says, nil where there is
// none.
func (l *Lab) enter(dir, file string) (*topology, error) {
	dir = filepath.Clean(dir)
	l.Dir = dir
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		l.Dir = real
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		l.Gone = true
		return nil, nil //nolint:nilnil // no directory, no file
	}
	for _, name := range []string{SnapshotFile, "netlab.snapshot.yml"} {
		l.snapshot = l.snapshot || mayBeThere(filepath.Join(l.Dir, name))
	}
	l.Made = MadeAt(l.Dir)
	l.locked = mayBeThere(filepath.Join(l.Dir, "netlab.lock"))
	data, _, err := readFile(filepath.Join(l.Dir, file), largestTopology)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil //nolint:nilnil // no file that says anything
	}
	if err != nil {
		return nil, err
	}
	t, err := parseTopology(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// SnapshotFile is Netlab's memory of a lab in its directory. It is written whenever a lab is generated, and not by what
// is done with the lab later.
const SnapshotFile = "netlab.snapshot.pickle"

// MadeAt is the time of Netlab's snapshot in a directory, by which a lab is told from one that was made there later. The zero
// time where there is none, or it cannot be seen.
func MadeAt(dir string) time.Time {
	info, err := os.Lstat(filepath.Join(dir, SnapshotFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func mayBeThere(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// timeOf reads a time as Netlab writes it, the zero time where it is none.
func timeOf(value any) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, asText(value), time.Local); err == nil {
			return t
		}
	}
	return time.Time{}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	// "default" first, then numbers as such.
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return keys
}
