package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// keepsOf sends a job that keeps what the patterns name.
func (b *testBundle) keepsOf(id string, patterns ...string) (dir string) {
	b.t.Helper()
	birth := b.birth(id, jobs.Create)
	birth.Keep = patterns
	b.send(birth)
	return birth.Workdir
}

// write makes files in the directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
	}
}

// keptFiles are the contents of what was kept, by path.
func (b *testBundle) keptFiles(id string) map[string]string {
	b.t.Helper()
	list, err := b.bus.KeptList(b.t.Context(), "a", id)
	if err != nil {
		b.t.Fatal(err)
	}
	files := map[string]string{}
	for i := range list.Files {
		f := &list.Files[i]
		text := ""
		for n := 0; int64(len(text)) < f.Bytes; n++ {
			piece, err := b.bus.KeptPiece(b.t.Context(), "a", id, f, n)
			if err != nil {
				b.t.Fatal(err)
			}
			text += string(piece)
		}
		files[f.Path] = text
	}
	return files
}

func TestFilesAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	dir := b.keepsOf("j1", "*.yml", "config/**")
	run := b.next()
	long := strings.Repeat("line of a configuration\n", 40_000)
	write(t, dir, map[string]string{"netlab.snapshot.yml": "name: one", "deep/x.yml": "no", "config/a/r1.cfg": long, "config/empty": "", "other": "no"})
	must(t, os.Symlink("netlab.snapshot.yml", filepath.Join(dir, "link.yml")), unix.Mkfifo(filepath.Join(dir, "pipe.yml"), 0o644))
	run.result <- exec.Result{}
	job := b.await("j1", ended)
	want := map[string]string{"netlab.snapshot.yml": "name: one", "topology.yml": "nodes: [ r1 ]", "config/a/r1.cfg": long, "config/empty": ""}
	got := b.keptFiles("j1")
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: %d bytes, want %d", path, len(got[path]), len(text))
		}
	}
	if len(got) != len(want) || job.Kept == nil || job.Kept.Files != 4 || job.Kept.Bytes != int64(len(long)+9+13) || len(job.Warnings) > 0 {
		t.Errorf("%d files, %+v, warnings %q", len(got), job.Kept, job.Warnings)
	}

	// A job that failed has left something too; one that names nothing, or has nothing, keeps none.
	dir = b.keepsOf("j2", "*.log")
	run = b.next()
	write(t, dir, map[string]string{"x.log": "why"})
	run.result <- exec.Result{ExitCode: 1, Error: "no"}
	if job = b.await("j2", ended); job.State != jobs.Failed || b.keptFiles("j2")["x.log"] != "why" {
		t.Errorf("%+v", job)
	}
	b.keepsOf("j3")
	b.next().result <- exec.Result{}
	b.keepsOf("j4", "nothing-like-it")
	b.next().result <- exec.Result{}
	for _, id := range []string{"j3", "j4"} {
		if job = b.await(id, ended); job.Kept != nil || len(job.Warnings) > 0 {
			t.Errorf("%s: %+v %q", id, job.Kept, job.Warnings)
		}
	}
}

// What cannot be kept is said in the job, which is none the worse for it.
func TestFilesThatCannotBeKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	dir := b.keepsOf("j1", "*")
	run := b.next()
	write(t, dir, map[string]string{"small": "x", "big": ""})
	must(t, os.Truncate(filepath.Join(dir, "big"), jobKeepLimits.oneFile+1))
	run.result <- exec.Result{}
	job := b.await("j1", ended)
	if job.State != jobs.Success || job.Kept == nil || job.Kept.Files != 2 || len(job.Warnings) != 1 {
		t.Fatalf("%s %+v %q", job.State, job.Kept, job.Warnings)
	}
	wantWords(t, job.Warnings[0], "big", "NETLAB_API_KEEP", fmt.Sprint(jobKeepLimits.oneFile))

	// A store without room, and many files.
	limits := bus.Limits{Replicas: 1, JobsBytes: 16 << 20, LogsBytes: 64 << 20, ObjectsBytes: 1 << 20, Lease: time.Minute}
	must(t, b.bus.EnsureStreams(t.Context(), limits))
	dir = b.keepsOf("j2", "f*")
	run = b.next()
	for i := range 20 {
		write(t, dir, map[string]string{fmt.Sprintf("f%02d", i): strings.Repeat("x", 100<<10)})
	}
	run.result <- exec.Result{}
	job = b.await("j2", ended)
	if job.State != jobs.Success || job.Kept == nil || job.Kept.Files < 3 || job.Kept.Files > 6 || len(job.Warnings) != maxKeptNot {
		t.Fatalf("%s %+v %q", job.State, job.Kept, job.Warnings)
	}
	wantWords(t, job.Warnings[0], "NETLAB_BUS_OBJECTS_BYTES")
	wantWords(t, job.Warnings[maxKeptNot-1], "more files")
	if got := b.keptFiles("j2"); len(got) != job.Kept.Files {
		t.Errorf("%d files, want %d", len(got), job.Kept.Files)
	}
}

func TestKeepLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	dir := filepath.Join(b.root, "lab")
	write(t, dir, map[string]string{"a": "12345", "b": "12345", "c": "123", "d": "1"})
	late, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		change func(l *keepLimits)
		kept   []string
	}{
		"ample": {func(*keepLimits) {}, []string{"a", "b", "c", "d"}},
		"files": {func(l *keepLimits) { l.files = 2 }, []string{"a", "b"}},
		"one":   {func(l *keepLimits) { l.oneFile = 4 }, []string{"c", "d"}},
		"all":   {func(l *keepLimits) { l.allFiles = 9 }, []string{"a", "c", "d"}},
		"time":  {func(l *keepLimits) { l.time = 0 }, nil},
	} {
		k := &keeper{worker: b.worker, host: "a", id: "j-" + name, who: b.worker.runAs, dir: dir, patterns: []string{"*"}, limits: jobKeepLimits}
		test.change(&k.limits)
		list, err := k.keep(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var kept []string
		for _, f := range list.Files {
			kept = append(kept, f.Path)
		}
		if !slices.Equal(kept, test.kept) || name != "time" && len(kept)+len(list.Warnings) != 4 {
			t.Errorf("%s: kept %q, warnings %q", name, kept, list.Warnings)
		}
	}
	if _, err := (&keeper{worker: b.worker, host: "a", id: "late"}).keep(late); err == nil {
		t.Error("kept when the worker ends")
	}
}

// A worker that ended after the files were kept and before the job's end was told has a successor which neither doubles nor
// loses any, and keeps them as they were then. What a try left that did not come to its end is gone.
func TestFilesAreKeptOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.worker.bus = b.bus
	dir := filepath.Join(b.root, "lab")
	write(t, dir, map[string]string{"a.yml": "first", "b.yml": "first"})
	room, err := b.bus.KeptRoom(t.Context())
	must(t, err)
	const torn = 1 << 20
	for range 3 {
		if _, err := b.bus.PutKept(t.Context(), "a", "j", bus.NewKeptToken(), strings.NewReader(strings.Repeat("x", torn)), torn); err != nil {
			t.Fatal(err)
		}
	}
	keep := func() *bus.KeptList {
		t.Helper()
		k := &keeper{worker: b.worker, host: "a", id: "j", who: b.worker.runAs, dir: dir, patterns: []string{"*.yml"}, limits: jobKeepLimits}
		list, err := k.keep(t.Context())
		must(t, err)
		return list
	}
	first := keep()
	if left, err := b.bus.KeptRoom(t.Context()); err != nil || left < room-torn {
		t.Errorf("what was torn takes room: %d, before %d, %v", left, room, err)
	}
	write(t, dir, map[string]string{"a.yml": "second", "c.yml": "second"})
	if again := keep(); len(again.Files) != 2 || again.Files[0] != first.Files[0] || again.Files[1] != first.Files[1] {
		t.Errorf("%+v, want %+v", again, first)
	}
	if got := b.keptFiles("j"); got["a.yml"] != "first" || len(got) != 2 {
		t.Errorf("%v", got)
	}
	must(t, b.bus.PurgeKept(t.Context(), "a", "j"))
	if again := keep(); len(again.Files) != 3 {
		t.Errorf("%+v", again)
	}
}
