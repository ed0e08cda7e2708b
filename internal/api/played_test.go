package api

import (
	"net/http"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// played is a job whose worker is the test.
type played struct {
	*testBundle
	jobs.Job
	status, chunk uint64
}

// submit posts a job.
func (b *testBundle) submit(payload string) *played {
	b.t.Helper()
	got := b.do(http.MethodPost, "/jobs", payload)
	if got.status != http.StatusAccepted {
		b.t.Fatalf("%d %s", got.status, got.body)
	}
	return &played{testBundle: b, Job: decode[jobs.Job](b.t, got.body)}
}

// running posts a job and starts it on a host that is online.
func (b *testBundle) running() *played {
	b.t.Helper()
	p := b.submit(`{"action":"create","workdir":"/home/lab/one"}`)
	p.move(jobs.Start)
	return p
}

func (p *played) move(e jobs.Event) {
	p.t.Helper()
	if err := p.Move(e, time.Now()); err != nil {
		p.t.Fatal(err)
	}
	var err error
	if p.status, err = p.bus.PublishStatus(p.ctx, &p.Job, p.status); err != nil {
		p.t.Fatal(err)
	}
}

// write publishes the next chunk of the job's log.
func (p *played) write(text string) {
	p.t.Helper()
	var err error
	p.chunk, err = p.bus.PublishLog(p.ctx, &bus.Chunk{Host: p.Host, Job: p.ID, Offset: p.LogBytes, Text: []byte(text)}, p.chunk)
	if err != nil {
		p.t.Fatal(err)
	}
	p.LogBytes += int64(len(text))
}

// shown waits until the API has the job's state and all of its log so far.
func (p *played) shown() {
	p.t.Helper()
	p.eventually("job "+p.ID, func() bool {
		job, err := p.view.Job(p.ctx, p.ID)
		return err == nil && job.State == p.State && job.LogBytes == p.LogBytes
	})
}

// ended is a job that has succeeded with this log.
func (b *testBundle) ended(text string) *played {
	b.t.Helper()
	p := b.running()
	for part := text; part != ""; {
		n := min(len(part), 64<<10)
		for n < len(part) && part[n]&0xC0 == 0x80 {
			n--
		}
		p.write(part[:n])
		part = part[n:]
	}
	p.move(jobs.Succeed)
	p.shown()
	return p
}
