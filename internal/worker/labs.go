package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// listTimeout bounds a look at the labs of the host: a status file on a dead file server, a Docker that hangs.
const listTimeout = 20 * time.Second

// labs decides which lab may start beside those that are there. Netlab guards one status file, that is one user; containerlab
// and Docker know names, networks and addresses for the whole host.
type labs struct {
	host *inventory.Host
	// deciding has room for the one job that decides: two that clash cannot both find the host free.
	deciding chan struct{}
	// claims are what the jobs under way take, by job. Guarded by mu.
	mu     sync.Mutex
	claims map[string]inventory.Identity
}

func newLabs(host *inventory.Host) *labs {
	return &labs{host: host, deciding: make(chan struct{}, 1), claims: map[string]inventory.Identity{}}
}

// list looks at every lab of the host.
func (l *labs) list(ctx context.Context) (*inventory.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return l.host.Labs(ctx)
}

func (l *labs) claim(job string, id inventory.Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims[job] = id
}

// release forgets what the job takes: from now on its lab is there to be seen, or gone.
func (l *labs) release(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.claims, job)
}

// others are the claims of jobs other than this one.
func (l *labs) others(job string) []inventory.Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []inventory.Identity
	for other, id := range l.claims {
		if other != job {
			ids = append(ids, id)
		}
	}
	return ids
}

// turn waits until no other job decides, and looks at the labs. done ends the turn.
func (l *labs) turn(ctx context.Context) (listing *inventory.Listing, done func(), err error) {
	select {
	case l.deciding <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	done = func() { <-l.deciding }
	listing, err = l.list(ctx)
	if err == nil {
		err = ctx.Err() // a job that was canceled takes nothing
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return listing, done, nil
}

// decide lets the job start a lab of this identity, which it then claims, or says why not in refused.
func (l *labs) decide(ctx context.Context, job string, id inventory.Identity) (refused string, err error) {
	listing, done, err := l.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if err := listing.Clash(id, l.others(job)); err != nil {
		return err.Error(), nil
	}
	l.claim(job, id)
	return "", nil
}

// pickID returns the multilab id for a lab in dir: the one that it has, or one that no lab and no other job has. It is the
// job's from now on.
func (l *labs) pickID(ctx context.Context, job, dir string) (string, error) {
	listing, done, err := l.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	for _, lab := range listing.At(dir) {
		if n, err := strconv.Atoi(lab.Instance); err == nil && n > 0 {
			return lab.Instance, nil
		}
	}
	id, err := listing.FreeID(l.others(job))
	if err != nil {
		return "", invalid("multilabId", "%v", err)
	}
	instance := strconv.Itoa(id)
	l.claim(job, inventory.Identity{Instance: instance, Dir: dir})
	return instance, nil
}

// reclaim takes for the job again what a worker before this one has let its run take, and returns Netlab's id of the lab, empty
// where it is not known.
func (l *labs) reclaim(job, runDir string, s *scene) (instance string) {
	if question, ok := exec.Claimed(runDir); ok {
		if id, err := readIdentity(question); err == nil {
			id.Dir, id.StatusFile = s.Dir, s.statusFile()
			l.claim(job, id)
			return id.Instance
		}
	}
	if id := cmp.Or(s.Instance, s.FreeID); id != "" {
		l.claim(job, inventory.Identity{Instance: id, Dir: s.Dir})
	}
	return s.Instance
}

// readIdentity reads a driver's question. The driver runs as the job's user, who may make it say anything.
func readIdentity(question []byte) (id inventory.Identity, err error) {
	if err := json.Unmarshal(question, &id); err != nil {
		return id, fmt.Errorf("what the lab takes cannot be read: %w", err)
	}
	return id, id.Check()
}

// answer answers the questions of a run until it has no more.
func (r *run) answer(ctx context.Context, process Process) {
	for {
		select {
		case <-ctx.Done():
			return
		case question, ok := <-process.Asks():
			if !ok {
				return
			}
			r.answerOne(ctx, process, question)
		}
	}
}

func (r *run) answerOne(ctx context.Context, process Process, question []byte) {
	refused := ""
	id, err := readIdentity(question)
	if err == nil {
		// What the driver says of these is not to be trusted.
		id.Dir, id.StatusFile = r.scene.Dir, r.scene.statusFile()
		r.instance.Store(&id.Instance)
		refused, err = r.w.labs.decide(ctx, r.entry.Birth.ID, id)
	}
	if ctx.Err() != nil {
		return // the next worker is asked again
	}
	if err != nil {
		refused = fmt.Sprintf("the labs of host %s cannot be looked at: %v", r.w.config.Host, err)
	}
	if refused == "" {
		err = r.w.known.remember(knownLab{Dir: r.scene.Dir, Job: r.entry.Birth.ID, UID: r.scene.Who.UID, StatusFile: r.scene.StatusFile})
		if err != nil {
			r.log.Error("labs", "error", err)
		}
	}
	// Without an answer the driver waits for ever.
	for err := process.Answer(refused); err != nil; err = process.Answer(refused) {
		r.log.Error("the driver's question cannot be answered, trying again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// labNow says for people what is there of the job's lab, and what to do next.
func (r *run) labNow(ctx context.Context) string {
	// A job that was stopped is to end, also where Docker hangs.
	ctx, cancel := context.WithTimeout(ctx, labNowPatience)
	defer cancel()
	listing, err := r.w.labs.list(ctx)
	if err != nil {
		return fmt.Sprintf("what is left of the lab cannot be told (%v): look with a status job", err)
	}
	return listing.Describe(r.scene.Dir)
}

// labNowPatience bounds the look at what a job leaves behind.
const labNowPatience = 4 * time.Second

// settleLab notes which lab the job has made.
func (r *run) settleLab() {
	var made time.Time
	_ = r.scene.Who.Do(func() error {
		made = inventory.MadeAt(r.scene.Dir)
		return nil
	})
	if err := r.w.known.settle(r.scene.Dir, r.entry.Birth.ID, made); err != nil {
		r.log.Warn("labs", "error", err)
	}
}

// forgetLab forgets the lab of a job that has taken it down for good.
func (r *run) forgetLab(ctx context.Context) {
	if a := r.entry.Birth.Action; a != jobs.Down && a != jobs.Destroy {
		return
	}
	listing, err := r.w.labs.list(ctx)
	if err != nil || listing.NoDocker != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	for _, lab := range listing.At(r.scene.Dir) {
		if !lab.Ghost {
			return
		}
		if err := r.forgetEntry(ctx, &lab); err != nil {
			r.log.Warn("labs", "error", err)
			return
		}
	}
	if err := r.w.known.forget(r.scene.Dir); err != nil {
		r.log.Warn("labs", "error", err)
	}
}

// forgetEntry removes an entry of the lab from another status file than the job's: that of who had the lab before, or the one of
// another stateRoot.
func (r *run) forgetEntry(ctx context.Context, lab *inventory.Lab) error {
	uid, err := account.OwnerOf(lab.StatusFile)
	if err != nil {
		return err
	}
	who, err := account.ByID(uid)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 && uid != os.Geteuid() {
		return nil
	}
	netlab, err := r.w.netlab.get(ctx)
	if err != nil {
		return err
	}
	env := netlab.Environment(exec.Surroundings{User: who.Name, Home: who.Home, Workdir: "/", Path: r.w.path()})
	if err := netlab.Forget(ctx, lab.Dir, lab.StatusFile, who.Credential(), env); err != nil {
		return err
	}
	err = say(r.entry.output(), "the lab is not listed any more in %s either, the status file of %s", lab.StatusFile, who.Name)
	if err != nil {
		r.log.Warn("log", "error", err) // the job may have ended, if this took long
	}
	return nil
}

// labList answers {} with {"labs"}: every lab of the host, with the job that started it.
func (w *Worker) labList(ctx context.Context, _ []byte) ([]byte, error) {
	listing, err := w.labs.list(ctx)
	if err != nil {
		return nil, err
	}
	type lab struct {
		Instance string  `json:"instance"`
		Dir      string  `json:"dir"`
		User     string  `json:"user"`
		Status   string  `json:"status"`
		Job      *string `json:"job"`
	}
	list := []lab{}
	for _, l := range listing.Labs {
		entry := lab{Instance: l.Instance, Dir: l.Dir, User: l.User, Status: l.Status}
		if job := w.known.job(l.Dir, l.Made); job != "" {
			entry.Job = &job
		}
		list = append(list, entry)
	}
	return json.Marshal(map[string]any{"labs": list})
}
