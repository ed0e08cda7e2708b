package exec

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// maxEnvironment bounds what is read of a process's environment; the kernel lets one have 2 MiB where the limits are usual.
const maxEnvironment = 4 << 20

// tree finds the processes of a run. Whoever was found once belongs to it for good, also after its parent is gone.
type tree struct {
	// driver is the run's driver, the zero value where it is not known.
	driver identity
	// job is what RUNNER_JOB says in the run's processes, "" where it is not known.
	job   string
	known map[identity]bool
}

// living returns the run's processes that have not ended, in the order of their numbers. They are
//
//   - those of the driver's session, and of each session that was begun by one of them;
//   - the descendants of each: as the driver adopts whoever loses its parent, none gets away while it lives;
//   - those with RUNNER_JOB=<job> in their environment, whatever their parent and their session.
//
// Not found is, once the driver is dead, a process that had changed its session, whose ancestors up to the driver are dead, and
// that has no RUNNER_JOB: it has cleared its environment, or may not be looked at by this process (another user's, or SUID).
func (t *tree) living() ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	if t.known == nil {
		t.known = map[identity]bool{}
	}
	leader, there := all[t.driver.PID]
	// Where the number is another process's by now, nobody was left in the session.
	ours := t.driver.PID != 0 && (!there || leader.start == t.driver.Start)
	entry := append([]byte(jobVariable+"="+t.job), 0)
	members := map[int]bool{}
	for pid, q := range all {
		switch {
		case q.start < t.driver.Start || pid == os.Getpid() || pid == 1:
			delete(all, pid)
		case t.known[q.identity()],
			ours && (pid == t.driver.PID || q.session == t.driver.PID):
			members[pid] = true
		case t.job != "" && !q.gone():
			environ, err := environOf(pid)
			if err != nil {
				return nil, err
			}
			if hasVariable(environ, entry) {
				members[pid] = true
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, q := range all {
			if !members[pid] && (members[q.parent] || members[q.session]) {
				members[pid], grown = true, true
			}
		}
	}
	var living []process
	for pid := range members {
		if q := all[pid]; !q.gone() {
			t.known[q.identity()] = true
			living = append(living, q)
		}
	}
	slices.SortFunc(living, func(a, b process) int { return a.pid - b.pid })
	return living, nil
}

// processes returns every process of the machine by its number, zombies too.
func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for the processes of a run: %w", err)
	}
	all := make(map[int]process, len(entries))
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		q, err := readProcess(pid)
		if isShort(err) {
			return nil, fmt.Errorf("looking for the processes of a run: %w", err)
		}
		if err == nil { // else it ended meanwhile
			all[pid] = q
		}
	}
	return all, nil
}

// Jobs are what RUNNER_JOB says in the processes of this machine, each once: whichever job has any, of whatever worker.
func Jobs() ([]string, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for pid, q := range all {
		if q.gone() || pid == os.Getpid() {
			continue
		}
		environ, err := environOf(pid)
		if err != nil {
			return nil, err
		}
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if job, ok := bytes.CutPrefix(entry, []byte(jobVariable+"=")); ok {
				found[string(job)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// environOf is a process's environment, each entry with its zero byte; nil where it has ended, or may not be looked at.
func environOf(pid int) ([]byte, error) {
	file, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err == nil {
		defer file.Close()
		var content []byte
		if content, err = io.ReadAll(io.LimitReader(file, maxEnvironment)); err == nil {
			return append(content, 0), nil
		}
	}
	if isShort(err) {
		return nil, fmt.Errorf("looking for the processes of a run: %w", err)
	}
	return nil, nil
}

// hasVariable says whether an environment has the entry, which ends with its zero byte.
func hasVariable(content, entry []byte) bool {
	for {
		i := bytes.Index(content, entry)
		if i < 0 {
			return false
		}
		if i == 0 || content[i-1] == 0 {
			return true
		}
		content = content[i+1:]
	}
}
