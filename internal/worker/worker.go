// Package worker runs the jobs of one host: it takes requests from the bus, keeps them in a journal, runs Netlab for one
// after the other in each working directory, and publishes their states and logs.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"netlab-runner/internal/account"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/hosts"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// Config is a worker's place in the world.
type Config struct {
	// Host is the host's name, see hosts.ValidName.
	Host string
	// DataDir holds the identity, the host's key, the driver and the journal. One worker at a time uses it.
	DataDir string
	// Roots are the directories below which working directories may lie.
	Roots []string
	// Templates is the template root; empty: none.
	Templates string
	// Python is the interpreter that imports Netlab; empty: the one that `netlab` on PATH uses.
	Python string
	// Path holds folders that come first on a job's PATH.
	Path []string
	// Homes are directories: only homes below them, and that of the worker's user, are looked into for labs. Empty: every home.
	Homes []string
	// RunAs is the user that every job runs as; empty: each job as its own where the worker is root, else as the worker's.
	RunAs string
	// URLNetworks are the internal networks that a topologyUrl may point into.
	URLNetworks []netip.Prefix
	// Slots is how many jobs run at once, at least 1.
	Slots int
	// Timeout ends a run that asks for no timeout of its own.
	Timeout time.Duration
	// Quiet is how long a run may write nothing before its log says that it goes on. Defaults to 30 min.
	Quiet  time.Duration
	Labels map[string]string
	// LogLimit is the size in bytes of a job's log, at which it is cut off; 0: any.
	LogLimit int64
	// LogPatience is how long a job that has ended waits for room for its log on the bus, before the log is cut off.
	LogPatience time.Duration
	// Warm is how long Netlab is kept ready for the next run after the last one has begun; 0: never.
	Warm time.Duration
	// Start replaces Netlab's driver, for tests and benchmarks; nil: the real one.
	Start func(exec.Run) (Process, error)
	// GraphProgram draws graphs; empty: netlab-graph beside this program.
	GraphProgram string
	// Version is this program's.
	Version string
	Log     *slog.Logger
}

// Process is a run of the driver, see exec.Process.
type Process interface {
	Phases() <-chan string
	Wait(ctx context.Context) (exec.Result, error)
	Asks() <-chan json.RawMessage
	Answer(refused string) error
	Stop(ctx context.Context, o exec.StopOptions) error
	Release()
}

// Worker is one host's. Make it with New, let it work with Run.
type Worker struct {
	config  Config
	bus     *bus.Bus
	log     *slog.Logger
	data    *dataDir
	key     *bus.HostKey
	journal *journal
	queue   *queue
	netlab  *installation
	cancels *cancels
	known   *knownLabs
	labs    *labs
	looks   *looks
	// runAs is the account of every job; nil: each job has its own.
	runAs *account.Account
	// connecting and drawing have room for the questions of these kinds that are worked on.
	connecting, drawing chan struct{}
	renderer            *renderer
	// keeping has the paths of the pictures that are being stored.
	keeping sync.Map

	// ended has how the latest jobs ended, live the runs that have claimed theirs.
	ended *endedJobs
	live  *liveRuns
	// unserved says that there is no consumer for the host's requests.
	unserved atomic.Bool
	// refusal is of the last request that could not be taken, nil where the last one could.
	refusal atomic.Pointer[takeRefusal]

	// adoptPatience is that of findLost.
	adoptPatience time.Duration
	// attach is exec.Attach, but where a test has it fail.
	attach func(dir, job string) (*exec.Process, error)
	// reconciled is called when an API has said which jobs it believes to be under way here.
	reconciled func()

	// held is until when nobody else can have the host's name; nil: it was never held.
	held atomic.Pointer[time.Time]

	source    string
	started   time.Time
	running   sync.WaitGroup
	finding   singleflight.Group
	looking   chan struct{}
	publicKey string
}

// New takes the data directory and looks for Netlab. A Netlab that cannot be used is said in the log and in the lease, and
// looked for again with each job.
func New(ctx context.Context, c Config) (*Worker, error) {
	if err := hosts.ValidName(c.Host); err != nil {
		return nil, fmt.Errorf("NETLAB_WORKER_HOST: %w", err)
	}
	data, err := openDataDir(c.DataDir)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		config: c, log: c.Log, data: data,
		queue:   newQueue(c.Slots),
		source:  "/hosts/" + c.Host + "/workers/" + data.identity,
		started: time.Now().UTC(),
		netlab:  &installation{python: c.Python, dataDir: c.DataDir, warm: c.Warm, log: c.Log},
		looks:   newLooks(c.Log),
		live:    newLiveRuns(),

		adoptPatience: adoptPatience,
		attach:        exec.Attach,

		looking:    make(chan struct{}, mostLooks),
		connecting: make(chan struct{}, askedAtOnce),
		drawing:    make(chan struct{}, askedAtOnce),
		renderer:   newRenderer(&c),
	}
	fail := func(err error) (*Worker, error) {
		data.close()
		return nil, err
	}
	if w.key, err = bus.LoadHostKey(filepath.Join(c.DataDir, "host.key")); err != nil {
		return fail(err)
	}
	if w.publicKey, err = w.key.Public(); err != nil {
		return fail(err)
	}
	if w.journal, err = openJournal(filepath.Join(c.DataDir, "jobs")); err != nil {
		return fail(err)
	}
	if err := keepHost(filepath.Join(c.DataDir, "host"), c.Host, w.journal); err != nil {
		return fail(err)
	}
	w.journal.logLimit, w.journal.source = c.LogLimit, w.source
	if w.ended, err = openEndedJobs(filepath.Join(c.DataDir, "ended"), c.Log); err != nil {
		return fail(err)
	}
	if w.runAs, err = runAs(c.RunAs); err != nil {
		return fail(err)
	}
	if w.known, err = openKnownLabs(filepath.Join(c.DataDir, "labs"), c.Log); err != nil {
		return fail(err)
	}
	w.cancels = newCancels()
	w.labs = newLabs(&inventory.Host{StateFiles: w.known.statusFiles, Homes: w.homes, Path: w.path(), Log: c.Log})
	n, err := w.netlab.get(ctx)
	switch {
	case ctx.Err() != nil:
		return fail(ctx.Err())
	case err != nil:
		w.log.Error("Netlab cannot be used; jobs will fail until it can", "error", err)
	default:
		w.log.Info("Netlab found", "version", n.Version, "python", n.Python)
	}
	return w, nil
}

// Check returns if nothing of the worker hangs that all jobs wait for.
func (w *Worker) Check() {
	w.queue.counts()
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
}

// Source names this worker in the events that it publishes: what its bus is to be connected with.
func (w *Worker) Source() string { return w.source }

// Run works until ctx ends, or until another worker holds the host's name. Runs of Netlab go on without the worker; the
// next one with the same data directory finds them.
func (w *Worker) Run(ctx context.Context, b *bus.Bus) error {
	w.bus = b
	go w.warnOfMissing() // a directory may not answer, for days
	w.sayWhose()
	defer w.data.close()
	defer w.netlab.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer w.running.Wait()
	defer wg.Wait() // which may begin to run some
	defer cancel(nil)

	entries, damaged, err := w.journal.load(w.log)
	if err != nil {
		return err
	}
	// Until it is known which jobs have a run: none is to begin in the directory of one, nor before one gets its turn.
	w.queue.close()
	tasks := make([]*task, len(entries))
	for i, e := range entries {
		tasks[i] = newTask(e)
		tasks[i].key, tasks[i].runs = w.reclaim(e)
	}
	// Before the lease: whoever sees the host online is answered.
	held := make(chan struct{})
	asked := make(chan struct{})
	w.reconciled = sync.OnceFunc(func() { close(asked) })
	w.answerWhen(ctx, held, &wg)
	// Before any other job runs in their directories, where their runs may be going on.
	w.findLost(ctx, damaged, &wg)
	if len(damaged)+len(w.journal.list()) == 0 {
		if err := exec.RemoveOldDrivers(w.config.DataDir); err != nil {
			w.log.Warn("driver", "error", err)
		}
	}
	w.enqueue(ctx, tasks...)
	w.queue.open()
	w.startNext(ctx)
	lease, err := w.acquire(ctx)
	if err != nil && ctx.Err() != nil {
		return nil // it was to end
	}
	if err != nil {
		return err
	}
	close(held)
	wg.Go(func() {
		if err := w.keep(ctx, lease); err != nil && ctx.Err() == nil {
			cancel(err)
		}
	})
	wg.Go(func() { w.followCancels(ctx) })
	wg.Go(func() { w.forgetGoneLabs(ctx, time.Now()) })
	wg.Go(func() { w.followLosses(ctx) })
	// The runs of a journal that was lost are to be known before others begin in their directories.
	select {
	case <-asked:
	case <-time.After(reconcileWait):
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		w.unserved.Store(true)
		err := w.bus.TakeRequests(ctx, w.config.Host, func() { w.unserved.Store(false) }, w.take)
		if ctx.Err() != nil {
			break
		}
		w.log.Warn("taking requests ended, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// sayWhose says as whom jobs run, and what cannot be done for that.
func (w *Worker) sayWhose() {
	switch {
	case w.runAs == nil:
		w.log.Info("each job runs as its own user")
	case os.Geteuid() != 0:
		w.log.Warn("the worker is not root: every job runs as its user, whatever user a job names; of other users' labs it sees what they let it see; what a lab's programs leave as root's it cannot give back; root's processes it ends by sudo -n alone",
			"user", w.runAs.Name)
	case w.runAs.UID == 0:
		w.log.Warn("every job runs as root: a topology is code, so whoever may post a job may do anything on this host; leave NETLAB_RUN_AS_USER out to run each as its own user")
	default:
		w.log.Info("every job runs as one user", "user", w.runAs.Name)
	}
}

// warnOfMissing names what the settings name and this machine does not have.
func (w *Worker) warnOfMissing() {
	for setting, dirs := range map[string][]string{
		"NETLAB_WORKER_ROOTS": w.config.Roots, "NETLAB_WORKER_PATH": w.config.Path, "NETLAB_WORKER_TEMPLATES": {w.config.Templates},
	} {
		for _, dir := range dirs {
			if _, err := os.Stat(dir); dir != "" && err != nil {
				w.log.Warn("a directory of the settings is not there", "setting", setting, "error", err)
			}
		}
	}
}

// take puts a request into the journal and then into the queue. Only then the bus may forget that it gave it, and only if nobody else
// has the host's name by now: to a worker that was frozen meanwhile it is not given any more.
func (w *Worker) take(ctx context.Context, birth *bus.Birth, seq uint64) error {
	if err := w.awaitHold(ctx); err != nil {
		return err
	}
	before, why := w.ended.unwritten(birth.ID) // before it is looked in the journal, as noteLater forgets it behind that
	if w.journal.has(birth.ID) {
		if before != nil && birth.CreatedAt.After(before.CreatedAt) {
			return w.cannotTake(fmt.Errorf("how the job before it of its id has ended is not noted yet: %w", why))
		}
		return nil
	}
	// The bus had lost the job, or that it was taken.
	if ended, err := w.restoreEnd(ctx, birth.ID); ended || err != nil {
		return err
	}
	if birth.State != jobs.Queued {
		_, err := w.adopt(ctx, ctx, birth.ID, math.MaxUint64)
		return err
	}
	e, isNew, err := w.journal.add(birth, w.journal.behind(seq), false)
	if err != nil {
		return w.cannotTake(err)
	}
	w.refusal.Store(nil)
	if isNew {
		w.enqueue(ctx, newTask(e))
	}
	return w.awaitHold(ctx)
}

func newTask(e *entry) *task {
	return &task{entry: e, changes: e.Birth.Action.Changes()}
}

// whereAtOnce is how long a task may hold up others until it is known which directory it is of.
const whereAtOnce = 250 * time.Millisecond

// enqueue has tasks wait for their turn, as soon as it is known which directories they are of. A file system may hang, for days: until it
// answers, those of a path wait by themselves, in their order, and all others go on.
func (w *Worker) enqueue(ctx context.Context, tasks ...*task) {
	soon, cancel := context.WithTimeout(ctx, whereAtOnce)
	defer cancel()
	var looks sync.WaitGroup
	for _, t := range tasks {
		if t.key != "" {
			w.queue.add(t)
			continue
		}
		if !w.queue.expect(t) {
			continue
		}
		looks.Go(func() {
			path := t.entry.Birth.Workdir
			key, err := w.where(soon, path)
			if err == nil {
				w.queue.found(path, key)
				return
			}
			w.running.Go(func() { w.awaitAnswer(ctx, path) })
		})
	}
	looks.Wait()
	w.startNext(ctx)
}

// awaitAnswer lets the tasks of a path wait for their turn when its file system answers.
func (w *Worker) awaitAnswer(ctx context.Context, path string) {
	for patience := time.Minute; ctx.Err() == nil; patience *= 2 {
		try, cancel := context.WithTimeout(ctx, patience)
		key, err := w.where(try, path)
		cancel()
		if err == nil {
			w.queue.found(path, key)
			w.startNext(ctx)
			return
		}
		if ctx.Err() == nil {
			w.log.Warn("a working directory does not answer, its jobs wait", "workdir", path)
			w.finding.Forget(path) // another file system may be mounted there by now, which that look knows nothing of
		}
	}
}

// mostLooks bounds the looks at a time: each that hangs keeps a thread, and a program may have 10,000.
const mostLooks = 4000

// where is the directory that a path leads to, with symlinks resolved as they are now. Its error is that of ctx.
func (w *Worker) where(ctx context.Context, path string) (string, error) {
	found := w.finding.DoChan(path, func() (any, error) {
		w.looking <- struct{}{}
		defer func() { <-w.looking }()
		return realPath(path), nil
	})
	select {
	case f := <-found:
		return f.Val.(string), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// startNext runs every task that may run now.
func (w *Worker) startNext(ctx context.Context) {
	for ctx.Err() == nil {
		t := w.queue.next()
		if t == nil {
			return
		}
		w.running.Go(func() {
			if key := w.turned(ctx, t); key != "" {
				w.queue.move(t, key)
				w.startNext(ctx)
				return
			}
			w.finish(ctx, t)
			w.queue.leave(t)
			if !t.isIdle() {
				w.startNext(ctx)
				if t.awaitIdle(ctx) != nil {
					return
				}
			}
			w.queue.free(t)
			w.startNext(ctx)
		})
	}
}

// turned is the directory that the task is of by now, where that is another one than it has to itself: a symlink was turned since it waits.
// Of one that does not answer its timeout counts from now on, and what it makes ready there looks once more.
func (w *Worker) turned(ctx context.Context, t *task) string {
	if !t.changes || t.runs {
		return ""
	}
	soon, cancel := context.WithTimeout(ctx, whereAtOnce)
	defer cancel()
	if key, err := w.where(soon, t.entry.Birth.Workdir); err == nil && key != t.key {
		return key
	}
	return ""
}

// finish takes a job to its end, trying again what fails for reasons that may pass, such as a full disk. When ctx ends
// before, Netlab runs on, and the next worker goes on from the journal.
func (w *Worker) finish(ctx context.Context, t *task) {
	e := t.entry
	log := w.log.With("job", e.Birth.ID)
	for wait := time.Second; ; wait = min(2*wait, retryAtMost) {
		r := newRun(w, t, log)
		err := r.journey(ctx)
		lost := errors.Is(err, errLost)
		switch {
		case err == nil:
			log.Info("job ended", "state", r.reporter.job.State, "reason", r.reporter.job.Reason)
		case lost && errors.Is(err, errOver):
			log.Info("job has ended elsewhere", "error", err)
		case lost:
			log.Warn("job given up", "error", err)
		}
		if lost {
			w.awaitGone(ctx, e, errors.Is(err, errOver), log)
			if ctx.Err() != nil {
				return
			}
		}
		if err == nil || lost || errors.Is(err, errOver) {
			w.labs.release(e.Birth.ID)
			if !lost {
				if err := w.noteEnd(ctx, &r.reporter); err != nil {
					log.Error("ended jobs, trying again", "error", err)
					w.running.Go(func() { w.noteLater(ctx, e, log) }) // its directory is free
					return
				}
			}
			if err := e.remove(); err != nil {
				log.Error("journal", "error", err)
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Error("job not finished, trying again", "error", err, "after", wait)
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// noteLater remembers how a job has ended as soon as the disk takes it, and then forgets the job. When ctx ends before, the next worker
// finds the job in the journal, and its end on the bus.
func (w *Worker) noteLater(ctx context.Context, e *entry, log *slog.Logger) {
	if _, why := w.ended.unwritten(e.Birth.ID); errors.Is(why, syscall.ENOSPC) || errors.Is(why, syscall.EDQUOT) {
		_ = e.empty() // it may be what fills the disk, and the bus has all of it
	}
	for wait := time.Second; ; wait = min(2*wait, retryAtMost) {
		err := w.ended.addUnwritten(e.Birth.ID)
		if err == nil {
			break
		}
		log.Error("ended jobs, trying again", "error", err, "after", wait)
		if pause(ctx, wait) != nil {
			return
		}
	}
	if err := e.remove(); err != nil {
		log.Error("journal", "error", err)
	}
	w.ended.settle(e.Birth.ID)
}

// awaitGone returns when the run of a job that was given up has ended, or ctx has: until then no other job begins in its directory.
// over says that the job has ended.
func (w *Worker) awaitGone(ctx context.Context, e *entry, over bool, log *slog.Logger) {
	for said := false; ctx.Err() == nil; said = true {
		lives, err := e.runs(over)
		if err == nil && !lives {
			return
		}
		if !said {
			log.Warn("its run goes on, and other jobs of its directory wait for the end of that", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(processLook):
		}
	}
}

// retryAtMost is the longest pause between two tries to finish a job.
const retryAtMost = 30 * time.Second
