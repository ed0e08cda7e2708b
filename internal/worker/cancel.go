package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errCanceled is why the context of a run ended: a client asked for it.
var errCanceled = errors.New("canceled on request")

// cancelAnswer is how long a run waits for the answer whether its job is to be canceled before it begins. It is asked on
// beside the run.
const cancelAnswer = 5 * time.Second

// cancels are the runs of this worker that a client may want to end, by job.
type cancels struct {
	mu   sync.Mutex
	runs map[string]*cancelable
}

type cancelable struct {
	cancel context.CancelCauseFunc
	// ask has a value when the stream is to be asked again: it may have a request that nobody has heard.
	ask chan struct{}
}

func newCancels() *cancels { return &cancels{runs: map[string]*cancelable{}} }

// add returns a context that ends when the job is canceled. Whoever adds a job calls drop in the end.
func (c *cancels) add(ctx context.Context, job string) (context.Context, *cancelable) {
	ctx, cancel := context.WithCancelCause(ctx)
	run := &cancelable{cancel: cancel, ask: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[job] = run
	return ctx, run
}

func (c *cancels) drop(job string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if run := c.runs[job]; run != nil {
		run.cancel(nil)
	}
	delete(c.runs, job)
}

// hear ends the run of the job, if there is one.
func (c *cancels) hear(job string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if run := c.runs[job]; run != nil {
		run.cancel(errCanceled)
	}
}

// again has the stream asked for every run.
func (c *cancels) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, run := range c.runs {
		select {
		case run.ask <- struct{}{}:
		default:
		}
	}
}

// followCancels hears what clients want canceled until ctx ends. A request that was sent while the connection was away is
// read afterwards: the stream has it.
func (w *Worker) followCancels(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.bus.FollowCancels(ctx, w.config.Host, w.cancels.hear, w.cancels.again)
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("following cancel requests ended, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// askCanceled asks the stream whether the job is to be canceled, until there is an answer, and again whenever a request may
// not have been heard, until ctx ends. answered is closed after the first answer.
func (w *Worker) askCanceled(ctx context.Context, job string, run *cancelable, answered chan<- struct{}) {
	for first := true; ; first = false {
		requested := false
		err := w.bus.Retry(ctx, "cancel request of job "+job, func(ctx context.Context) (err error) {
			requested, err = w.bus.CancelRequested(ctx, w.config.Host, job)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.log.Warn("cancel request not read", "job", job, "error", err)
		}
		if requested {
			w.cancels.hear(job)
		}
		if first {
			close(answered)
		}
		select {
		case <-ctx.Done():
			return
		case <-run.ask:
		}
	}
}

// listen returns a context that ends when the job is canceled, once it is known whether it was already. hush ends it.
func (w *Worker) listen(ctx context.Context, job string) (runCtx context.Context, hush func()) {
	runCtx, run := w.cancels.add(ctx, job)
	answered := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { w.askCanceled(runCtx, job, run, answered) })
	select {
	case <-answered:
	case <-runCtx.Done():
	case <-time.After(cancelAnswer):
	}
	return runCtx, func() {
		w.cancels.drop(job)
		asking.Wait()
	}
}
