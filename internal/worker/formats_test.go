package worker

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
	"netlab-runner/test/formats"
)

// What a worker of any release has written into its data directory is read as what it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	marshal := func(t *testing.T, value any) []byte {
		t.Helper()
		data, err := json.Marshal(value)
		must(t, err)
		return data
	}
	read := func(t *testing.T, file string) []byte {
		t.Helper()
		data, err := os.ReadFile(file)
		must(t, err)
		return data
	}
	// place puts a sample where the worker looks for it.
	place := func(t *testing.T, sample []byte, path ...string) (file string) {
		t.Helper()
		file = filepath.Join(append([]string{t.TempDir()}, path...)...)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, sample, 0o600))
		return file
	}
	// The birth itself is one of the formats of the bus.
	birth := &bus.Birth{Job: jobs.Job{ID: "j1", Host: "alpha", Workdir: "/home/ada/lab", Action: jobs.Up, State: jobs.Queued, CreatedAt: at, Warnings: []string{}}}
	lab := knownLab{Dir: "/home/ada/lab", Job: "j1", UID: 1000, StatusFile: "/home/ada/state/status.yaml", Made: at}
	quiet := slog.New(slog.DiscardHandler)
	formats.Check(t,
		formats.Format{
			Name: "request.json",
			Sample: func(t *testing.T) []byte {
				j, err := openJournal(t.TempDir())
				must(t, err)
				j.logLimit, j.source = 1<<20, "/hosts/alpha/workers/0f7a3f0e-6d2b-4d0b-9a53-0f0b1d6f7c11"
				e, _, err := j.add(birth, 7, true)
				must(t, err)
				return read(t, filepath.Join(e.dir, requestFile))
			},
			Read: func(t *testing.T, sample []byte) []byte {
				j, err := openJournal(filepath.Dir(filepath.Dir(place(t, sample, "j1", requestFile))))
				must(t, err)
				entries, _, err := j.load(quiet)
				must(t, err)
				return marshal(t, entries[0])
			},
		},
		formats.Format{
			Name: sceneFile, Type: scene{},
			Sample: func(t *testing.T) []byte {
				e := &entry{dir: t.TempDir()}
				must(t, e.saveScene(scene{
					Who: account.Account{Name: "ada", UID: 1000, GID: 1000, Groups: []int{1000, 27}, Home: "/home/ada"},
					Dir: "/home/ada/lab", StatusFile: "/home/ada/state/status.yaml", Remade: true, Instance: "7", FreeID: "8",
				}))
				return read(t, filepath.Join(e.dir, sceneFile))
			},
			Read: func(t *testing.T, sample []byte) []byte {
				e := &entry{dir: filepath.Dir(place(t, sample, sceneFile)), Birth: birth}
				s, ok := e.loadScene(quiet)
				if !ok {
					t.Fatal("it cannot be read")
				}
				return marshal(t, s)
			},
		},
		formats.Format{
			Name: outputFile + baseSuffix,
			Sample: func(t *testing.T) []byte {
				output := filepath.Join(t.TempDir(), outputFile)
				must(t, saveOffset(output+baseSuffix, 4711))
				return read(t, output+baseSuffix)
			},
			Read: func(t *testing.T, sample []byte) []byte {
				base, err := loadOffset(place(t, sample, outputFile+baseSuffix), 0)
				if err != nil || base != 4711 {
					t.Fatalf("%d, %v", base, err)
				}
				return sample
			},
		},
		formats.Format{
			Name: outputFile + cutSuffix,
			Sample: func(t *testing.T) []byte {
				output := filepath.Join(t.TempDir(), outputFile)
				must(t, saveOffset(output+cutSuffix, 0))
				return read(t, output+cutSuffix)
			},
			Read: func(t *testing.T, sample []byte) []byte {
				at, err := loadOffset(place(t, sample, outputFile+cutSuffix), uncut)
				if err != nil || at != 0 {
					t.Fatalf("%d, %v", at, err)
				}
				return sample
			},
		},
		formats.Format{
			Name: "ended.json", // a job as it is on the bus, whose sample has all its fields
			Sample: func(t *testing.T) []byte {
				e, err := openEndedJobs(t.TempDir(), quiet)
				code := 1
				must(t, err, e.add(&endedJob{Stored: at, Job: jobs.Job{
					ID: "j1", Action: jobs.Up, State: jobs.Failed, Host: "alpha", Workdir: "/labs/one", CreatedAt: time.Unix(1_800_000_000, 0).UTC(),
					Reason: jobs.ReasonNetlabFailed, ExitCode: &code, LogBytes: 7, Warnings: []string{}, Request: jobs.Request{Action: jobs.Up},
				}}))
				return read(t, e.file("j1"))
			},
			Read: func(t *testing.T, sample []byte) []byte {
				e, err := openEndedJobs(t.TempDir(), quiet)
				must(t, err, os.WriteFile(e.file("j1"), sample, 0o600))
				job, err := e.get("j1")
				must(t, err)
				return marshal(t, job)
			},
		},
		formats.Format{
			Name: "lab.json", Type: knownLab{},
			Sample: func(t *testing.T) []byte {
				k, err := openKnownLabs(t.TempDir(), quiet)
				must(t, err, k.remember(lab))
				return read(t, k.file(lab.Dir))
			},
			Read: func(t *testing.T, sample []byte) []byte {
				k, err := openKnownLabs(filepath.Dir(place(t, sample, "lab.json")), quiet)
				must(t, err)
				return marshal(t, k.labs[lab.Dir])
			},
		},
		formats.Format{
			Name: "host",
			Sample: func(t *testing.T) []byte {
				file := filepath.Join(t.TempDir(), "host")
				must(t, keepHost(file, "alpha", newJournal(t)))
				return read(t, file)
			},
			Read: func(t *testing.T, sample []byte) []byte {
				j := newJournal(t)
				addEntry(t, j, "j1", 1)
				must(t, keepHost(place(t, sample, "host"), "alpha", j))
				return sample
			},
		},
		formats.Format{
			Name:   "identity",
			Sample: func(*testing.T) []byte { return []byte("0f7a3f0e-6d2b-4d0b-9a53-0f0b1d6f7c11\n") },
			Read: func(t *testing.T, sample []byte) []byte {
				identity, err := loadOrMakeIdentity(place(t, sample, "identity"))
				must(t, err)
				return []byte(identity + "\n")
			},
		},
	)
}

// Each file that a worker makes for a job is a format that has a sample, but for the output, which is the log.
func TestFilesOfAJobHaveSamples(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run()
	b.submit("j1", nil)
	run := b.next()
	entries, err := os.ReadDir(filepath.Join(b.config.DataDir, "jobs", "j1"))
	must(t, err)
	run.result <- exec.Result{}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join("testdata", "formats", "next", e.Name())); err != nil && !e.IsDir() && e.Name() != outputFile {
			t.Errorf("%s is a format without a sample", e.Name())
		}
	}
	b.await("j1", ended)
}
