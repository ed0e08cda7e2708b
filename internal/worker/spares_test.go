package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	names := []string{}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// sparesOf are the directories that there are, whether they may be used or not.
func sparesOf(t *testing.T, j *journal) []string {
	t.Helper()
	return namesIn(t, j.spares.dir)
}

// A job that gets the directory of an earlier one finds nothing of that in it.
func TestASpareHasNothingOfTheJobBefore(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	long := &bus.Birth{Job: jobs.Job{ID: "first", Host: "a", Workdir: "/a/path/that/is/longer/than/any/other"}, Topology: "nodes: [ secret ]"}
	first, _, err := j.add(long, 1, false)
	must(t, err)
	run, err := first.nextRun()
	must(t, err, say(first.output(), "a line"), first.saveScene(scene{Dir: "/lab"}))
	must(t, os.WriteFile(filepath.Join(run, "result.json"), []byte("{}"), 0o600), os.MkdirAll(filepath.Join(first.dir, scratchDir, "lab"), 0o711))
	output, err := os.OpenFile(first.output(), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer func() { _ = output.Close() }()
	addEntry(t, j, "beside", 2)
	was, err := os.Stat(first.dir)
	must(t, err, first.remove())
	for _, name := range []string{requestFile, sceneFile} {
		if text, err := os.ReadFile(filepath.Join(j.spares.dir, "first", name)); err != nil || len(text) > 0 {
			t.Errorf("it is kept with %q, %v", text, err)
		}
	}
	addEntry(t, j, "third", 3) // has the folder synced
	fourth := addEntry(t, j, "fourth", 4)
	if is, err := os.Stat(fourth.dir); err != nil || !os.SameFile(was, is) {
		t.Fatalf("it is not the directory of the job before, %v", err)
	}
	if diff := cmp.Diff([]string{requestFile, sceneFile}, namesIn(t, fourth.dir)); diff != "" {
		t.Error(diff)
	}
	if _, ok := fourth.loadScene(slog.New(slog.DiscardHandler)); ok {
		t.Error("it has a scene")
	}
	must(t, fourth.saveScene(scene{Dir: "/a/longer/path"}), fourth.saveScene(scene{Dir: "/short"}))
	if s, ok := fourth.loadScene(slog.New(slog.DiscardHandler)); !ok || s.Dir != "/short" {
		t.Errorf("its scene is %+v", s)
	}
	// Whoever has the output of the first one open writes nowhere.
	must(t, say(fourth.output(), "its own"))
	_, err = output.WriteString("of the first\n")
	must(t, err)
	if text, err := os.ReadFile(fourth.output()); err != nil || string(text) != "netlab-worker: its own\n" {
		t.Errorf("%q, %v", text, err)
	}
	j, err = openJournal(j.dir) // the worker is back
	must(t, err)
	if diff := cmp.Diff([]string{"beside", "third", "fourth"}, ids(t, j)); diff != "" {
		t.Error(diff)
	}
}

// As long as a power cut could bring a job back, it does not come with the request of another one. It comes without one, and goes.
func TestASpareIsUsedWhenTheFolderWasSynced(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	first := addEntry(t, j, "first", 1)
	run, err := addEntry(t, j, "with-a-run", 2).nextRun()
	must(t, err, first.remove(), j.list()[0].remove())
	addEntry(t, j, "third", 3)
	for _, id := range []string{"first", "with-a-run"} {
		must(t, os.Rename(filepath.Join(j.spares.dir, id), filepath.Join(j.dir, id)))
	}
	must(t, os.MkdirAll(run, 0o700))
	j, err = openJournal(j.dir)
	must(t, err)
	_, damaged, err := j.load(slog.New(slog.DiscardHandler))
	must(t, err)
	if diff := cmp.Diff([]string{"with-a-run"}, damaged); diff != "" {
		t.Error(diff)
	}
	must(t, j.clear("with-a-run"), j.clear("third")) // as the worker does, when the bus says that a job is over
	if diff := cmp.Diff([]string{"third"}, namesIn(t, j.dir)); diff != "" {
		t.Error(diff)
	}
}

// What a worker has left of its spares is not used by the next one: it may not have been emptied.
func TestSparesOfAnEarlierWorker(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	must(t, addEntry(t, j, "first", 1).remove())
	if len(sparesOf(t, j)) != 1 {
		t.Fatal("there is none")
	}
	j, err := openJournal(j.dir)
	must(t, err)
	if left := sparesOf(t, j); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A directory with a request that is no plain file, or has another name somewhere, is removed as it was ever.
func TestWhatIsNoSpare(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(file string) error{
		"gone": os.Remove,
		"a backup's": func(file string) error {
			return os.Link(file, filepath.Join(filepath.Dir(filepath.Dir(file)), "backup"))
		},
		"a link":   func(file string) error { return errors.Join(os.Remove(file), os.Symlink("elsewhere", file)) },
		"a folder": func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(t)
			e := addEntry(t, j, "first", 1)
			must(t, spoil(filepath.Join(e.dir, requestFile)), e.remove())
			if left := append(sparesOf(t, j), namesIn(t, j.dir)...); len(left) > 0 && !slices.Equal(left, []string{"backup"}) {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// There are no more spares than may be needed, and jobs come and go without their folder.
func TestSparesAreBounded(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	for i := range sparesMost + 10 {
		addEntry(t, j, fmt.Sprintf("job%d", i), uint64(i))
	}
	for _, e := range j.list() {
		must(t, e.remove())
	}
	if n := len(sparesOf(t, j)); n != sparesMost {
		t.Errorf("%d spares", n)
	}
	addEntry(t, j, "settles", 1000)
	must(t, os.RemoveAll(j.spares.dir))
	for _, id := range []string{"one", "two"} {
		must(t, addEntry(t, j, id, 2000).remove())
	}
	if diff := cmp.Diff([]string{"settles"}, ids(t, j)); diff != "" {
		t.Error(diff)
	}
}
