package worker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/durable"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// journal keeps, in a directory a job, what the worker has taken and not yet reported to its end.
type journal struct {
	dir string
	// logLimit and source are the LogLimit and the Source of each new entry.
	logLimit int64
	source   string

	spares *spares

	mu sync.Mutex
	// known are the jobs that are in the journal and with this worker: what is on the disk alone may be torn.
	known map[string]*entry
	// last is the greatest Seq there was.
	last uint64
}

// entry is one job of the journal. Its directory has request.json, output (what Netlab and the worker wrote) and a
// directory for each start of the driver.
type entry struct {
	Birth *bus.Birth `json:"birth"`
	// Seq is the job's place in the order of arrival: its request's sequence, or a greater one where the bus has begun to count anew.
	Seq uint64 `json:"seq"`
	// LogLimit is the size of the job's log in bytes, 0 for any. It stays what it is: another one would make another log.
	LogLimit int64 `json:"logLimit,omitempty"`
	// Source is the worker that took the job, empty where an earlier release did. With a new identity it is another one.
	Source string `json:"source,omitempty"`
	// Lost is a job that was under way when the journal had nothing of it any more.
	Lost bool `json:"lost,omitempty"`

	dir     string
	journal *journal
	// began says that this worker has begun a run, whatever the disk says.
	began bool
}

const (
	requestFile = "request.json"
	outputFile  = "output"
	runPrefix   = "run-"
	// sparesDir is beside the journal's folder.
	sparesDir = "spare"
)

func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	spares, err := openSpares(filepath.Join(filepath.Dir(dir), sparesDir))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &journal{dir: dir, spares: spares, known: map[string]*entry{}}, nil
}

// has says whether the job is in the journal and with this worker.
func (j *journal) has(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[id] != nil
}

// holds says whether the disk has any job.
func (j *journal) holds() (bool, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	return slices.ContainsFunc(entries, isJob), nil
}

// isJob tells a job's directory from what somebody else has put there.
func isJob(d fs.DirEntry) bool { return d.IsDir() && jobs.ValidID(d.Name()) }

// list is what the journal has, in order of arrival.
func (j *journal) list() []*entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.SortedFunc(maps.Values(j.known), byArrival)
}

func byArrival(a, b *entry) int { return cmp.Compare(a.Seq, b.Seq) }

// behind is the Seq of a request that comes now, with this sequence.
func (j *journal) behind(seq uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return max(seq, j.last+1)
}

// add makes an entry, on the disk when it returns. lost is its Lost. isNew is false where the journal has the job already.
func (j *journal) add(birth *bus.Birth, seq uint64, lost bool) (e *entry, isNew bool, err error) {
	if !jobs.ValidID(birth.ID) {
		return nil, false, fmt.Errorf("journal: job id %q", birth.ID)
	}
	e = &entry{
		Birth: birth, Seq: seq, LogLimit: j.logLimit, Source: j.source, Lost: lost,
		dir: filepath.Join(j.dir, birth.ID), journal: j,
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known[birth.ID] != nil {
		return e, false, nil
	}
	if err := e.write(); err != nil {
		return nil, false, fmt.Errorf("journal: %w", err)
	}
	j.known[birth.ID], j.last = e, max(j.last, seq)
	return e, true, nil
}

// write puts the entry on the disk: as one of the spares, which gets into the journal as a whole, or else file by file.
func (e *entry) write() error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j := e.journal
	if !j.spares.use(e.dir, data) {
		if err := os.MkdirAll(e.dir, 0o711); err != nil {
			return err
		}
		if err := durable.Write(filepath.Join(e.dir, requestFile), data); err != nil {
			return err
		}
	}
	return j.spares.settle(func() error { return durable.SyncDir(j.dir) })
}

// mend writes an entry again that somebody has removed from the disk, and says whether it was gone.
func (e *entry) mend() (gone bool, err error) {
	if _, err := os.Stat(filepath.Join(e.dir, requestFile)); !errors.Is(err, fs.ErrNotExist) {
		return false, nil // what else is wrong with it shows where it is used
	}
	if err := e.write(); err != nil {
		return true, fmt.Errorf("journal: %w", err)
	}
	return true, nil
}

// load reads every entry, in order of arrival. A directory without a request and without a run was never acknowledged: its request
// comes again. damaged are the jobs whose request cannot be read; all else that the journal has of them stays, as does what is no job's.
func (j *journal) load(log *slog.Logger) (entries []*entry, damaged []string, err error) {
	dirs, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	for _, d := range dirs {
		if !isJob(d) {
			log.Warn("journal: what is no job's is left alone", "path", filepath.Join(j.dir, d.Name()))
			continue
		}
		e := &entry{dir: filepath.Join(j.dir, d.Name()), journal: j}
		data, err := os.ReadFile(filepath.Join(e.dir, requestFile))
		// It is empty where a power cut has brought back what was kept as a spare.
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
			if n, err := e.highest(); err == nil && n == 0 {
				_ = os.RemoveAll(e.dir)
				continue
			}
		}
		if err == nil {
			err = json.Unmarshal(data, e)
		}
		if err != nil || e.Birth == nil || e.Birth.ID != d.Name() {
			log.Error("journal: entry cannot be read, it is looked for on the bus", "dir", e.dir, "error", err)
			damaged = append(damaged, d.Name())
			continue
		}
		entries = append(entries, e)
		j.mu.Lock()
		j.known[e.Birth.ID], j.last = e, max(j.last, e.Seq)
		j.mu.Unlock()
	}
	slices.SortFunc(entries, byArrival)
	return entries, damaged, nil
}

// clear removes what is left of a job that is not under way: its request was gone, because a worker ended while it forgot the job.
func (j *journal) clear(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	dir := filepath.Join(j.dir, id)
	info, err := os.Stat(filepath.Join(dir, requestFile))
	if err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// output is the file that Netlab and the worker append to, of which the log is made.
func (e *entry) output() string { return filepath.Join(e.dir, outputFile) }

// lastRun is the directory of the newest start of the driver, empty where there was none.
func (e *entry) lastRun() (string, error) {
	n, err := e.highest()
	if n == 0 || err != nil {
		return "", err
	}
	return e.run(n), nil
}

// nextRun makes the directory for one more start.
func (e *entry) nextRun() (string, error) {
	n, err := e.highest()
	if err != nil {
		return "", err
	}
	dir := e.run(n + 1)
	e.began = true
	return dir, os.Mkdir(dir, 0o700)
}

func (e *entry) run(n int) string { return filepath.Join(e.dir, runPrefix+strconv.Itoa(n)) }

func (e *entry) highest() (n int, err error) {
	files, err := os.ReadDir(e.dir)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	for _, f := range files {
		if i, err := strconv.Atoi(strings.TrimPrefix(f.Name(), runPrefix)); err == nil {
			n = max(n, i)
		}
	}
	return n, nil
}

// unended is a time at which the job had not ended.
func (e *entry) unended() time.Time {
	if at := changed(e.output()); at.After(e.Birth.CreatedAt) {
		return at
	}
	return e.Birth.CreatedAt
}

// empty makes room on the disk. When the output was last written is kept, see unended.
func (e *entry) empty() error {
	at := changed(e.output())
	return errors.Join(os.Truncate(e.output(), 0), os.Chtimes(e.output(), at, at))
}

// runs says whether processes of the job's run are there. Those that are there behind a result are the lab's, as are those of a job
// that is over and of which the journal has no run.
func (e *entry) runs(over bool) (bool, error) {
	dir, err := e.lastRun()
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	case dir == "" && over, dir != "" && exec.HasResult(dir):
		return false, nil
	}
	return exec.Lives(e.Birth.ID)
}

// remove forgets the job, whose end the bus has.
func (e *entry) remove() error {
	spare, err := e.forget()
	if err != nil || spare == "" {
		return err
	}
	return e.journal.spares.put(spare)
}

// forget takes the job's directory out of the journal. It returns where it is kept, empty where it was removed.
func (e *entry) forget() (spare string, err error) {
	// All of it under the lock: the same request may just come again.
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	if spare = e.journal.spares.take(e.dir); spare != "" {
		delete(e.journal.known, e.Birth.ID)
		return spare, nil
	}
	// First the request: what a crash leaves behind is then removed by the next load.
	if err := os.Remove(filepath.Join(e.dir, requestFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("journal: %w", err)
	}
	delete(e.journal.known, e.Birth.ID)
	return "", os.RemoveAll(e.dir)
}
