package worker

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

func newJournal(t *testing.T) *journal {
	t.Helper()
	j, err := openJournal(filepath.Join(t.TempDir(), "jobs"))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func addEntry(t *testing.T, j *journal, id string, seq uint64) *entry {
	t.Helper()
	e, isNew, err := j.add(&bus.Birth{Job: jobs.Job{ID: id, Host: "a"}, Topology: "nodes: [a]"}, seq, false)
	if err != nil || !isNew {
		t.Fatalf("%s: new %v, %v", id, isNew, err)
	}
	return e
}

func ids(t *testing.T, j *journal) []string {
	t.Helper()
	entries, _, err := j.load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Birth.ID)
	}
	return list
}

func TestJournalKeepsJobsInOrderOfArrival(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	addEntry(t, j, "z", 1)
	second := addEntry(t, j, "y", 2)
	addEntry(t, j, "x", 3)
	if _, isNew, err := j.add(&bus.Birth{Job: jobs.Job{ID: "z"}}, 1, false); isNew || err != nil {
		t.Errorf("the same request again: new %v, %v", isNew, err)
	}
	if err := second.remove(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"z", "x"}, ids(t, j)); diff != "" {
		t.Error(diff)
	}
	entries, _, err := j.load(slog.New(slog.DiscardHandler))
	if err != nil || entries[0].Birth.Topology != "nodes: [a]" {
		t.Errorf("%+v %v", entries, err)
	}
}

func TestJournalAfterACrash(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	addEntry(t, j, "whole", 1)
	// Made, and not acknowledged: the request comes again.
	if err := os.Mkdir(filepath.Join(j.dir, "torn"), 0o700); err != nil {
		t.Fatal(err)
	}
	garbled := addEntry(t, j, "garbled", 2)
	if err := os.WriteFile(filepath.Join(garbled.dir, requestFile), []byte(`{"birth":`), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(j.dir) // the worker is back
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"whole"}, ids(t, j)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(j.dir, "torn")); !os.IsNotExist(err) {
		t.Errorf("what was never acknowledged is still there: %v", err)
	}
	if _, err := os.Stat(garbled.dir); err != nil {
		t.Errorf("what cannot be read is gone: %v", err)
	}
	// Their requests come again, and are new: neither was with the worker.
	addEntry(t, j, "torn", 3)
	addEntry(t, j, "garbled", 2)
	if diff := cmp.Diff([]string{"whole", "garbled", "torn"}, ids(t, j)); diff != "" {
		t.Error(diff)
	}
}

func TestJournalCountsRuns(t *testing.T) {
	t.Parallel()
	e := addEntry(t, newJournal(t), "a", 1)
	if last, err := e.lastRun(); last != "" || err != nil {
		t.Errorf("before the first: %q %v", last, err)
	}
	for range 11 {
		dir, err := e.nextRun()
		if err != nil {
			t.Fatal(err)
		}
		if last, err := e.lastRun(); last != dir || err != nil {
			t.Errorf("last run %q %v, want %q", last, err, dir)
		}
	}
}

// An output that makes room was not written later for that: the job had ended by then.
func TestAnOutputIsEmptied(t *testing.T) {
	t.Parallel()
	e := addEntry(t, newJournal(t), "j1", 1)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := errors.Join(os.WriteFile(e.output(), []byte("what fills the disk\n"), 0o600), os.Chtimes(e.output(), at, at)); err != nil {
		t.Fatal(err)
	}
	if err := e.empty(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(e.output())
	if err != nil || info.Size() != 0 || !e.unended().Equal(at) {
		t.Errorf("%+v, %v; it had not ended at %s, want %s", info, err, e.unended(), at)
	}
}

func TestDataDirBelongsToOneWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(dir); err == nil {
		t.Fatal("a second worker took it")
	}
	first.close()
	again, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if again.identity != first.identity || again.identity == "" {
		t.Errorf("identity %q, then %q", first.identity, again.identity)
	}
}

// An identity that a fault of the disk has emptied is made anew. One with content is left to people.
func TestAnIdentityThatIsEmpty(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "identity")
	must(t, os.WriteFile(file, nil, 0o600))
	made, err := loadOrMakeIdentity(file)
	if err != nil || made == "" {
		t.Fatalf("%q %v", made, err)
	}
	if again, err := loadOrMakeIdentity(file); again != made || err != nil {
		t.Errorf("%q, then %q %v", made, again, err)
	}
	must(t, os.WriteFile(file, []byte(made[:10]), 0o600))
	if torn, err := loadOrMakeIdentity(file); err == nil {
		t.Errorf("of a torn one it made %q", torn)
	}
}

// A job keeps the limit of its log that it was taken with: another one would make another log of the same output.
func TestJournalKeepsTheLimitOfALog(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	j.logLimit = 100
	addEntry(t, j, "old", 1)
	j, err := openJournal(j.dir) // the worker is back, with another setting
	if err != nil {
		t.Fatal(err)
	}
	j.logLimit = 200
	addEntry(t, j, "new", 2)
	entries, _, err := j.load(slog.New(slog.DiscardHandler))
	if err != nil || len(entries) != 2 || entries[0].LogLimit != 100 || entries[1].LogLimit != 200 {
		t.Errorf("%+v %v", entries, err)
	}
}

// A worker that is killed while it forgets a job leaves nothing that would be run again: the request goes before all else.
func TestTheRequestIsForgottenFirst(t *testing.T) {
	t.Parallel()
	e := addEntry(t, newJournal(t), "j1", 1)
	var runs []string
	for i := range 8 {
		dir := e.run(i)
		must(t, os.Mkdir(dir, 0o700))
		for n := range 100 {
			must(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(n)), nil, 0o600))
		}
		must(t, os.Chtimes(dir, time.Time{}, time.Unix(0, 0)))
		if runs = append(runs, dir); i == 3 {
			must(t, e.write()) // among them, in whatever order they are removed
		}
	}
	removed := make(chan error, 1)
	go func() { removed <- e.remove() }()
	for begun := false; !begun; {
		begun = slices.ContainsFunc(runs, func(dir string) bool { return !changed(dir).Equal(time.Unix(0, 0)) })
	}
	if _, err := os.Stat(filepath.Join(e.dir, requestFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the request, with something gone: %v", err)
	}
	must(t, <-removed)
}
