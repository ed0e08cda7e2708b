package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/jobs"
)

// visit is what a client does with one job. All of it is drawn before the first request.
type visit struct {
	action jobs.Action
	// shared is the number of the directory that all clients share, -1 for one of the visit's own.
	shared int
	// talk is what the plugin chatter does in a directory of the visit's own.
	talk object
	// inline sends the topology with the request, large one that is too large for a message.
	inline, large bool
	host          string
	// keyed sends an Idempotency-Key, repeats says when the request is sent again after it was answered.
	keyed   bool
	repeats []time.Duration
	// cancel is when the job is canceled; negative: it is not.
	cancel time.Duration
	// follows are the forms in which the log is followed.
	follows []string
	// list has the client look for its jobs in the list.
	list  bool
	pause time.Duration
}

// pace is how clients of the short and of the long form differ.
type pace struct {
	clients int
	// shared is how many directories all clients share.
	shared int
	// run and pause are the longest time of a run and between two visits.
	run, pause time.Duration
	// flood is how many lines a talkative run writes.
	flood int
}

var (
	shortPace = pace{clients: 6, shared: 1, run: 2 * time.Second, pause: 2 * time.Second, flood: 400}
	longPace  = pace{clients: 8, shared: 3, run: 15 * time.Second, pause: 12 * time.Second, flood: 4000}
)

func (p pace) draw(r *rand.Rand) visit {
	v := visit{action: jobs.Create, shared: -1, cancel: -1, keyed: r.IntN(6) > 0, list: r.IntN(4) == 0}
	if r.IntN(5) < 2 {
		v.shared = r.IntN(p.shared)
		v.action = jobs.Action(pick(r, "up", "up", "down", "down", "restart", "status", "validate"))
	}
	run := 0.2 + r.Float64()*p.run.Seconds()
	v.talk = object{"lines": 1 + r.IntN(20), "bytes": 40 + r.IntN(200), "seconds": run}
	switch r.IntN(3) {
	case 0: // all the while
		lines := 5 + r.IntN(30)
		v.talk = object{"lines": lines, "bytes": 64, "delay": run / float64(lines)}
	case 1:
		v.talk = object{"lines": 1 + r.IntN(p.flood), "bytes": 100, "seconds": run}
	}
	if n := r.IntN(8); v.shared < 0 && n < 2 {
		v.inline, v.large = true, n == 0
	}
	if host := r.IntN(8); v.shared < 0 && host < 3 {
		v.host = []string{"alpha", "beta", "gamma"}[host]
	}
	for range r.IntN(3) {
		v.repeats = append(v.repeats, time.Duration(r.Int64N(int64(4*time.Second))))
	}
	if r.IntN(5) == 0 {
		v.cancel = time.Duration(r.Int64N(int64(p.run + time.Second)))
		// So long that the end is not its own.
		v.talk["seconds"] = 10 + run
	}
	for _, form := range []string{"text", "events", "json"} {
		if r.IntN(2) == 0 {
			v.follows = append(v.follows, form)
		}
	}
	v.pause = time.Duration(r.Int64N(int64(p.pause)))
	return v
}

// chaosJob is a job as its client knows it.
type chaosJob struct {
	visit
	id, key, marker, dir string
	// from is the number of the API that gave the first answer.
	from int

	mu sync.Mutex
	// canceled says that a request to cancel it was answered with 200, asked that there was one.
	canceled, asked bool
	follows         []*follow
	// ends are the terminal states that the client was shown, as JSON without what differs from API to API.
	ends map[string]bool
}

// try is a request for a job. Its marker is that of the visit.
type try struct {
	marker string
	// denied says that the answer was that there is no job.
	denied bool
}

// customer is a client.
type customer struct {
	*asker
	random *rand.Rand
	pace   pace
	number int
	jobs   []*chaosJob
	tries  []try
	keys   map[string][]string // the ids that were given for a key
}

func newCustomer(c *chaos, seed uint64, number int, p pace) *customer {
	return &customer{
		asker: newAsker(c, fmt.Sprintf("client-%d", number)), number: number, pace: p,
		random: rand.New(rand.NewPCG(seed, uint64(number))), keys: map[string][]string{},
	}
}

// work makes one visit after the other while open lasts, and sees each to its end while ctx lasts.
func (k *customer) work(ctx, open context.Context) {
	for n := 1; open.Err() == nil; n++ {
		v := k.pace.draw(k.random)
		k.visit(ctx, open, v, fmt.Sprintf("%s-%d", k.name, n))
		sleep(open, v.pause)
	}
}

func (k *customer) any() *chaosAPI { return k.c.apis[k.random.IntN(len(k.c.apis))] }

func (k *customer) visit(ctx, open context.Context, v visit, marker string) {
	j := &chaosJob{visit: v, marker: marker, ends: map[string]bool{}}
	payload, err := k.payload(j)
	if err != nil {
		k.c.find(answers, "", "%v", err)
		return
	}
	if v.keyed {
		// Ids are made of keys, and processes are found by ids: another chaos may run on this machine.
		j.key = "key of " + marker + " in " + filepath.Base(k.c.logs)
	}
	job := k.submit(ctx, open, j, payload)
	if job == nil {
		return
	}
	j.id = job.ID
	k.jobs = append(k.jobs, j)
	k.c.host(job.Host).accepted(j.id)

	var beside sync.WaitGroup
	seed := k.random.Uint64()
	for i, form := range v.follows {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		beside.Go(func() {
			f := k.followLog(ctx, r, j.id, form)
			j.mu.Lock()
			defer j.mu.Unlock()
			j.followed(f)
		})
	}
	if v.cancel >= 0 {
		r := rand.New(rand.NewPCG(seed, 100))
		beside.Go(func() { k.cancelJob(ctx, r, j) })
	}
	if j.key != "" {
		for _, after := range v.repeats {
			if sleep(open, after) {
				k.submitAgain(ctx, j, payload)
			}
		}
	}
	k.await(ctx, j)
	if v.list {
		k.look(ctx)
	}
	beside.Wait()
}

func (j *chaosJob) followed(f *follow) { j.follows = append(j.follows, f) }

// payload lays out the directory of a visit and returns the request.
func (k *customer) payload(j *chaosJob) (object, error) {
	p := object{"action": string(j.action), "workspace": k.name, "deployment": j.marker}
	if j.shared >= 0 {
		j.dir = k.c.sharedDir(j.shared)
		p["workdir"] = j.dir
		return p, nil
	}
	j.dir = filepath.Join(k.c.f.root, j.marker)
	p["workdir"] = j.dir
	topology, err := k.c.layOut(j.dir, "chatter", j.talk)
	if err != nil {
		return nil, err
	}
	if j.inline {
		if j.large {
			topology += "#" + strings.Repeat("x", 200<<10) + "\n"
		}
		p["topology"] = topology
		if err := os.Remove(filepath.Join(j.dir, "topology.yml")); err != nil {
			return nil, err
		}
	}
	if j.host != "" {
		p["host"] = j.host
	}
	return p, nil
}

// submit sends the request until a job is accepted, at one API and another. nil: there is none, or nobody can know.
func (k *customer) submit(ctx, open context.Context, j *chaosJob, payload object) *jobs.Job {
	refused := 0
	for doubt := false; ; {
		if open.Err() != nil && !doubt {
			return nil
		}
		a := k.any()
		r, err := k.post(ctx, a, j, payload)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			k.tries = append(k.tries, try{j.marker, false})
			k.c.tell("", "%s at %s: no answer: %v", j.marker, a.name, err)
			if j.key == "" {
				return nil // it may be there, and to ask again could make another one
			}
			doubt = true
			sleep(ctx, 300*time.Millisecond)
		case r.status == http.StatusAccepted:
			j.from = a.number
			return k.accepted(a, j, r)
		case r.status == http.StatusServiceUnavailable:
			denied := !strings.Contains(r.error(), "accepted as")
			k.tries = append(k.tries, try{j.marker, denied})
			k.c.tell("", "%s at %s: 503 %s", j.marker, a.name, r.error())
			k.judgeAway(a, r, j.marker)
			if !denied && j.key == "" {
				return nil
			}
			doubt = doubt || !denied
			sleep(ctx, min(r.again(), time.Second))
		case refused < 20 && k.offline(r, j):
			k.tries = append(k.tries, try{j.marker, true})
			refused++
			k.judgeAway(a, r, j.marker)
			sleep(ctx, 500*time.Millisecond)
		default:
			if refused < 20 {
				k.c.find(answers, "", "%s at %s: %d %s", j.marker, a.name, r.status, r.body)
			}
			return nil
		}
	}
}

// offline says whether the answer is that the one host for the job is not there. One that an API has not heard of since its own
// start it does not know.
func (k *customer) offline(r *chaosReply, j *chaosJob) bool {
	return r.status == http.StatusConflict && strings.Contains(r.error(), "offline") ||
		r.status == http.StatusBadRequest && j.host != "" && strings.Contains(r.error(), "no host")
}

// judgeAway looks at a refusal of an API whose way to the bus is cut.
func (k *customer) judgeAway(a *chaosAPI, r *chaosReply, marker string) {
	if k.c.cutFor(a.name) > cutKnown && (r.status != http.StatusServiceUnavailable || !strings.Contains(r.error(), "bus")) {
		k.c.find(away, "", "%s at %s: %d %s", marker, a.name, r.status, r.error())
	}
}

func (k *customer) post(ctx context.Context, a *chaosAPI, j *chaosJob, payload object) (*chaosReply, error) {
	var header []string
	if j.key != "" {
		header = []string{"Idempotency-Key", j.key}
	}
	return k.ask(ctx, a, "POST", "/jobs", payload, header...)
}

// accepted takes in the answer 202.
func (k *customer) accepted(a *chaosAPI, j *chaosJob, r *chaosReply) *jobs.Job {
	var job jobs.Job
	if err := json.Unmarshal(r.body, &job); err != nil || job.ID == "" {
		k.c.find(answers, "", "%s: %s answers a submit with %s", k.name, a.name, r.body)
		return nil
	}
	k.c.tell(job.ID, "%s at %s: accepted, %s in %s on %s, key %q, replayed %q", j.marker, a.name, job.Action, job.Workdir, job.Host, j.key, r.header.Get("Idempotent-Replayed"))
	if j.key != "" {
		k.keys[j.key] = append(k.keys[j.key], job.ID)
	}
	return &job
}

// submitAgain sends the request once more, as a client does that has lost the answer.
func (k *customer) submitAgain(ctx context.Context, j *chaosJob, payload object) {
	a := k.any()
	r, err := k.post(ctx, a, j, payload)
	switch {
	case err != nil:
	case r.status == http.StatusAccepted:
		k.accepted(a, j, r)
		if r.header.Get("Idempotent-Replayed") != "true" {
			k.c.find(oneJob, j.id, "%s: %s answers a request that was accepted before as if it was new", k.name, a.name)
		}
	case r.status != http.StatusServiceUnavailable && !k.offline(r, j):
		k.c.find(oneJob, j.id, "%s: %s answers a request that was accepted before: %d %s", k.name, a.name, r.status, r.body)
	}
}

// cancelJob asks for the end of the job until there is an answer.
func (k *customer) cancelJob(ctx context.Context, random *rand.Rand, j *chaosJob) {
	if !sleep(ctx, j.cancel) {
		return
	}
	for ctx.Err() == nil {
		a := k.c.apis[random.IntN(len(k.c.apis))]
		j.mu.Lock()
		j.asked = true
		j.mu.Unlock()
		r, err := k.ask(ctx, a, "POST", "/jobs/"+j.id+"/cancel", nil)
		if err != nil {
			k.c.tell(j.id, "%s cancels at %s: %v", k.name, a.name, err)
		} else {
			k.c.tell(j.id, "%s cancels at %s: %d %s", k.name, a.name, r.status, r.error())
			switch r.status {
			case http.StatusOK:
				j.mu.Lock()
				j.canceled = true
				j.mu.Unlock()
				return
			case http.StatusConflict:
				return
			case http.StatusServiceUnavailable:
			default:
				k.c.find(answers, j.id, "%s: cancel at %s: %d %s", k.name, a.name, r.status, r.body)
				return
			}
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// rank orders the states of a job's life.
func rank(s jobs.State) int {
	switch s {
	case jobs.Queued:
		return 0
	case jobs.Running:
		return 1
	}
	return 2
}

// await looks at the job, at one API and another, until it has ended.
func (k *customer) await(ctx context.Context, j *chaosJob) {
	seen := make([]jobs.State, len(k.c.apis))
	for ctx.Err() == nil {
		a := k.any()
		r, err := k.ask(ctx, a, "GET", "/jobs/"+j.id, nil)
		var job jobs.Job
		switch {
		case err != nil, r.status == http.StatusServiceUnavailable:
		case r.status != http.StatusOK:
			k.c.find(answers, j.id, "%s: %s answers %d %s", k.name, a.name, r.status, r.body)
		default:
			if err := json.Unmarshal(r.body, &job); err != nil {
				k.c.find(answers, j.id, "%s: %s shows %s: %v", k.name, a.name, r.body, err)
				return
			}
			if before := seen[a.number]; before != "" && rank(job.State) < rank(before) {
				k.c.find(terminal, j.id, "%s: %s has shown it %s, and now %s", k.name, a.name, before, job.State)
			}
			seen[a.number] = job.State
			if job.State.Terminal() {
				k.c.tell(j.id, "%s sees at %s: %s %s %s", k.name, a.name, job.State, job.Reason, text(job.Error))
				k.readWhole(ctx, a, &job)
				k.lookForProcesses(ctx, &job)
				j.mu.Lock()
				j.ends[comparable(r.body)] = true
				j.mu.Unlock()
				return
			}
		}
		sleep(ctx, time.Duration(200+k.random.IntN(600))*time.Millisecond)
	}
}

// readWhole reads the log at an API that has just shown its job ended: it has to be all there, or not to be had for now.
func (k *customer) readWhole(ctx context.Context, a *chaosAPI, job *jobs.Job) {
	r, err := k.ask(ctx, a, "GET", "/jobs/"+job.ID+"/log", nil, "Accept", "application/json")
	if err != nil || r.status == http.StatusServiceUnavailable {
		return
	}
	var log jsonLog
	if err := json.Unmarshal(r.body, &log); err != nil || r.status != http.StatusOK {
		k.c.find(answers, job.ID, "%s: the log at %s: %d %.300s", k.name, a.name, r.status, r.body)
	} else if int64(len(log.Log)) != job.LogBytes {
		k.c.find(logComplete, job.ID, "%s: %s shows it %s with a log of %d bytes, of which it has %d", k.name, a.name, job.State, job.LogBytes, len(log.Log))
	}
}

// lookForProcesses sees that a job that has ended has no process any more. One that was killed is gone when its parent has been told.
func (k *customer) lookForProcesses(ctx context.Context, job *jobs.Job) {
	left := processesOf(job.ID)
	for end := time.Now().Add(goneSoon); len(left) > 0 && time.Now().Before(end) && sleep(ctx, 100*time.Millisecond); {
		left = processesOf(job.ID)
	}
	if len(left) > 0 {
		k.c.find(nothingLeft, job.ID, "it is %s, and these processes of it go on: %q", job.State, left)
	}
}

// goneSoon is how long a process may take to be gone, on a busy machine.
const goneSoon = 2 * time.Second

// comparable is a job's JSON without the path of the log, which is each API's own.
func comparable(body []byte) string {
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return err.Error()
	}
	delete(fields, "logPath")
	text, err := json.Marshal(fields) // in the order of the names
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// look reads the client's own jobs page by page. Those that this API has accepted have to be there.
func (k *customer) look(ctx context.Context) {
	a := k.any()
	listed := map[string]bool{}
	for cursor := ""; ; {
		r, err := k.ask(ctx, a, "GET", "/jobs?limit=20&workspace="+k.name+"&cursor="+url.QueryEscape(cursor), nil)
		if err != nil || r.status == http.StatusServiceUnavailable {
			return
		}
		var page struct {
			Jobs []jobs.Job
			Next string
		}
		if err := json.Unmarshal(r.body, &page); err != nil || r.status != http.StatusOK {
			k.c.find(answers, "", "%s: the list at %s: %d %.300s", k.name, a.name, r.status, r.body)
			return
		}
		for _, job := range page.Jobs {
			if listed[job.ID] || job.Workspace != k.name {
				k.c.find(answers, job.ID, "%s: the list at %s has it twice, or it is of %q", k.name, a.name, job.Workspace)
			}
			listed[job.ID] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for _, j := range k.jobs {
		if j.from == a.number && !listed[j.id] {
			k.c.find(terminal, j.id, "%s: %s has accepted it, and does not list it", k.name, a.name)
		}
	}
}

func (c *chaos) sharedDir(n int) string { return filepath.Join(c.f.root, fmt.Sprintf("shared-%d", n)) }

// layOut lays out a sample lab whose plugins talk and count, and returns its topology.
func (c *chaos) layOut(dir, sample string, talk object) (string, error) {
	options, err := json.Marshal(talk)
	if err != nil {
		return "", err
	}
	content := maps.Clone(c.samples[sample])
	content["chatter.json"] = string(options)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content[name]), 0o644); err != nil {
			return "", err
		}
	}
	return content["topology.yml"], nil
}
