package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// spec is what to run, with which Netlab.
type spec struct {
	netlab *exec.Netlab
	run    exec.Run
}

func (s *spec) close() {
	if s != nil && s.run.WorkdirFile != nil {
		_ = s.run.WorkdirFile.Close()
	}
}

// specifyGrace is how long a job that was canceled waits for what it is about to do in its working directory.
const specifyGrace = 2 * time.Second

// specifyWhile is specify as long as ctx and the job's timeout have not ended. A working directory may hang for ever, on a file
// server that is away or by its user's doing, and its job is to end all the same.
func (r *run) specifyWhile(ctx context.Context) (*spec, *outcome) {
	if err := ctx.Err(); err != nil {
		return nil, refusal(err)
	}
	type answer struct {
		spec *spec
		end  *outcome
	}
	answers := make(chan answer, 1)
	timed, cancel := context.WithTimeout(ctx, r.timeout())
	job := r.reporter.job // the reporter's own may change while this one hangs
	go func() {
		r.working.Lock() // an earlier try may hang still
		defer r.working.Unlock()
		if err := timed.Err(); err != nil {
			answers <- answer{end: refusal(err)}
			return
		}
		s, end := r.specify(timed, &job)
		answers <- answer{s, end}
	}()
	defer cancel()
	var a answer
	select {
	case a = <-answers:
	case <-timed.Done():
		select {
		case a = <-answers:
		case <-time.After(specifyGrace):
			go func() { (<-answers).spec.close() }()
			a.end = refusal(timed.Err())
		}
	}
	if a.end != nil && timed.Err() != nil && ctx.Err() == nil {
		needed := job.Workdir
		if url := job.Request.TopologyURL; url != "" {
			needed = url + ", " + needed
		}
		end := failed(jobs.ReasonTimeout, fmt.Sprintf("what the job needs was not there within its timeout of %s, and Netlab did not begin: see whether %s and the bus answer", r.timeout(), needed))
		a.end = &end
	}
	return a.spec, a.end
}

// specify makes the working directory ready and says what to run there. end is that of a job that needs no run, or cannot
// have one.
func (r *run) specify(ctx context.Context, job *jobs.Job) (*spec, *outcome) {
	who, lost, err := r.whose(ctx, job)
	if err != nil {
		return nil, refusal(err)
	}
	if job.Action.Changes() {
		r.giveBackFirst(who, job.Workdir)
	}
	m, err := r.w.material(ctx, r.entry.Birth)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, refusal(err)
	}
	var place *place
	if job.Action == jobs.Validate && !m.empty() {
		place, err = r.scratch(job, who, m)
	} else {
		place, err = r.w.prepare(job, who, m, lost)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		place.close()
		return nil, refusal(err)
	}
	s, end := r.specifyAt(ctx, job, who, place, m, lost)
	if end != nil {
		place.close()
	}
	return s, end
}

func (r *run) specifyAt(ctx context.Context, job *jobs.Job, who *account.Account, place *place, m *material, remade bool) (*spec, *outcome) {
	if job.Action.Changes() && !place.absent && place.dir != r.key {
		return nil, refusal(invalid("workdir", "%s led to %s a moment ago and leads to %s now: submit the job again", job.Workdir, r.key, place.dir))
	}
	if place.absent && (job.Action == jobs.Down || job.Action == jobs.Destroy) {
		if err := say(r.entry.output(), "%s: lab not found, there is no directory %s", job.Action, job.Workdir); err != nil {
			return nil, refusal(err)
		}
		end := succeeded(new(int))
		return nil, &end
	}
	netlab, err := r.w.netlab.get(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	statusFile, err := r.w.statusFile(job.Request.StateRoot, who)
	if err != nil {
		return nil, refusal(err)
	}
	if statusFile == "" {
		statusFile = r.w.known.statusFile(place.dir, who.UID)
	}
	r.scene = scene{Who: *who, Dir: place.dir, StatusFile: statusFile, Remade: remade}
	if err := r.checkStatusFile(job); err != nil {
		return nil, refusal(err)
	}
	request, err := r.numbered(ctx, job, place)
	if err != nil {
		return nil, refusal(err)
	}
	commands, err := exec.Plan(request, exec.Lab{Topology: place.topology, FreeID: r.scene.FreeID})
	if err != nil {
		return nil, refusal(err)
	}
	if err := r.entry.saveScene(r.scene); err != nil {
		return nil, refusal(err)
	}
	if err := r.introduce(job, netlab); err != nil {
		return nil, refusal(err)
	}
	return &spec{netlab: netlab, run: exec.Run{
		Output:       r.entry.output(),
		Workdir:      place.dir,
		WorkdirFile:  place.file,
		StatusFile:   statusFile,
		Commands:     commands,
		SnapshotYAML: true,
		Job:          job.ID,
		User:         who.Credential(),
		Ask:          true,
		Env: netlab.Environment(exec.Surroundings{
			User: who.Name, Home: who.Home, Workdir: place.dir, Path: r.w.path(),
			Extra: r.secrets.over(job.Request.Environment),
		}),
	}}, nil
}

// introduce begins the log with who runs what where.
func (r *run) introduce(job *jobs.Job, netlab *exec.Netlab) error {
	if !job.Action.Changes() {
		return nil
	}
	if err := say(r.entry.output(), "%s in %s on host %s as %s, Netlab %s", job.Action, r.scene.Dir, job.Host, r.scene.Who.Name, netlab.Version); err != nil {
		return err
	}
	if user := job.Request.User; user != "" && user != r.scene.Who.Name {
		return say(r.entry.output(), "this host runs every job as %s, so not as %s", r.scene.Who.Name, user)
	}
	return nil
}

// whose is whom the job runs as. lost says that its working directory is gone while its lab is there: it is made anew, for
// the lab's own user, to take the lab down in.
func (r *run) whose(ctx context.Context, job *jobs.Job) (who *account.Account, lost bool, err error) {
	var lab *inventory.Lab
	if takesDown := job.Action == jobs.Down || job.Action == jobs.Destroy; takesDown && r.w.gone(job.Workdir) {
		listing, err := r.w.labs.list(ctx)
		if err != nil {
			return nil, false, err
		}
		if found := listing.At(realPath(job.Workdir)); len(found) > 0 {
			lab = &found[0]
		}
	}
	if lab != nil && job.Request.User == "" && r.w.runAs == nil && lab.User != "" {
		if owner, err := account.Lookup(lab.User); err == nil && owner.UID >= firstUser {
			return owner, true, nil
		}
	}
	who, err = r.w.accountOf(job)
	return who, lab != nil, err
}

// gone says whether there is nothing at the path.
func (w *Worker) gone(path string) bool {
	root, rel, err := w.within("workdir", path, false)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	_, err = root.Lstat(rel)
	return errors.Is(err, fs.ErrNotExist)
}

// numbered is the request with a free multilab id where it wants one and names none. Where only its topology may want one, the
// id is kept ready: whether the lab takes it shows when Netlab has read the topology and all that it includes.
func (r *run) numbered(ctx context.Context, job *jobs.Job, place *place) (jobs.Request, error) {
	request := job.Request
	wants := slices.Contains(request.Plugin, multilab)
	if !starts(job.Action) || request.MultilabID != "" || !wants && !place.multilab {
		return request, nil
	}
	id, err := r.w.labs.pickID(ctx, job.ID, r.scene.Dir)
	if err != nil {
		return request, err
	}
	if !wants {
		r.scene.FreeID = id
		return request, nil
	}
	request.MultilabID, r.scene.Instance = id, id
	r.instance.Store(&id)
	return request, say(r.entry.output(), "multilab id %s is free on host %s and taken for this lab", id, job.Host)
}

// resume takes up what a worker before this one has begun in a directory of a run.
func (r *run) resume(runDir string) error {
	s, ok := r.entry.loadScene(r.log)
	if !ok {
		// An earlier version of this program began the run.
		who, err := r.w.accountOf(&r.reporter.job)
		if err != nil {
			who, err = account.Self()
		}
		if err != nil {
			return err
		}
		s = scene{Who: *who, Dir: r.key}
	}
	r.scene = s
	if instance := r.w.labs.reclaim(r.entry.Birth.ID, runDir, &s); instance != "" {
		r.instance.Store(&instance)
	}
	return nil
}

// reclaim takes for the job of an entry what a worker before this one has let it take, before another job looks. runs says that
// the job has a run, in the directory dir where that is known.
func (w *Worker) reclaim(e *entry) (dir string, runs bool) {
	run, err := e.lastRun()
	if err != nil || run == "" {
		return "", err != nil || e.Lost
	}
	s, ok := e.loadScene(w.log)
	if !ok {
		return "", true
	}
	w.labs.reclaim(e.Birth.ID, run, &s)
	return s.Dir, true
}
