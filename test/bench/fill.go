package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// rareJobs is how many of the jobs that are filled in have the rare value of every field that a list can be filtered by. All
// others have the usual one.
const rareJobs = 50

// apart is a value of which half of the jobs have it as their user, and half as their workspace: only the oldest ones, as many as are rare
// else, as both.
const apart = "apart"

// roomForMany are settings of an API that keeps 100,000 jobs and more.
func roomForMany() []string { return []string{"--retain-jobs=0", "--bus-jobs-bytes=1GiB"} }

// filling are jobs that have ended.
type filling struct {
	// count is how many, a multiple of rareJobs.
	count int
	// log is that of each, empty for none.
	log []byte
	// apart has them have the value of that name, instead of a usual or rare one.
	apart bool
}

// filler stores them, as an API and a worker would have left them: birth, claim, end, and a log.
type filler struct {
	filling
	bus *bus.Bus
}

// fill stores the jobs on the bus at url. It returns the id of the newest one: once that is shown as ended, all are.
func fill(ctx context.Context, url, creds string, jobs filling) (newest string, err error) {
	b, err := bus.Connect(bus.Config{URL: url, Creds: creds, Name: "bench", Source: "/bench"})
	if err != nil {
		return "", err
	}
	defer b.Close()
	f := &filler{jobs, b}
	var next atomic.Int64
	writers, writing := errgroup.WithContext(ctx)
	for range connections {
		writers.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= f.count-1 {
					return nil
				}
				if _, err := f.store(writing, n); err != nil {
					return err
				}
			}
		})
	}
	if err := writers.Wait(); err != nil {
		return "", err
	}
	return f.store(ctx, f.count-1)
}

// store stores the n-th job and returns its id.
func (f *filler) store(ctx context.Context, n int) (string, error) {
	value, action, end := "usual", jobs.Create, jobs.Succeed
	if !f.apart && n%(f.count/rareJobs) == 0 {
		value, action, end = "rare", jobs.Collect, jobs.Fail
	}
	user, workspace := value, value
	both := n < rareJobs
	if f.apart && (both || n%2 == 0) {
		user = apart
	}
	if f.apart && (both || n%2 == 1) {
		workspace = apart
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	job := jobs.Job{
		ID: id.String(), Action: action, State: jobs.Queued, User: user, Workspace: workspace, Deployment: value, Host: value,
		Workdir: "/home/bench/netlab/" + value, Placement: "most room of 10", CreatedAt: time.Now().UTC().Truncate(time.Second),
		Warnings: []string{}, Request: jobs.Request{Action: action, User: user, Workspace: workspace, Deployment: value},
	}
	if _, err := f.bus.Submit(ctx, &bus.Birth{Job: job}); err != nil {
		return "", err
	}
	if len(f.log) > 0 {
		if _, err := f.bus.PublishLog(ctx, &bus.Chunk{Host: job.Host, Job: job.ID, Text: f.log}, 0); err != nil {
			return "", err
		}
	}
	last := uint64(0)
	for _, e := range []jobs.Event{jobs.Start, end} {
		if err := job.Move(e, time.Now()); err != nil {
			return "", err
		}
		if job.State == jobs.Failed {
			text := "netlab collect: exit code 1"
			job.Error, job.Reason = &text, jobs.ReasonNetlabFailed
		}
		if job.State.Terminal() {
			job.LogBytes = int64(len(f.log))
		}
		if last, err = f.bus.PublishStatus(ctx, &job, last); err != nil {
			return "", err
		}
	}
	return job.ID, nil
}

// awaitNewest returns when the API shows the job as its newest one, and as ended.
func (s *system) awaitNewest(ctx context.Context, id string) error {
	return s.eventually(ctx, "all jobs have been read", func() (bool, error) {
		var list struct {
			Jobs []jobs.Job `json:"jobs"`
		}
		err := s.get(ctx, "/jobs?limit=1", &list)
		return len(list.Jobs) == 1 && list.Jobs[0].ID == id && list.Jobs[0].State.Terminal(), err
	})
}
