package bus

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"netlab-runner/internal/jobs"
)

// lived publishes a job's life: a birth, two states, a log, a kept file.
func lived(ctx context.Context, t *testing.T, b *Bus, id string, created time.Time) *jobs.Job {
	t.Helper()
	j := job(id, "a")
	j.CreatedAt = created.UTC()
	_, err := b.Submit(ctx, &Birth{Job: *j})
	seq := uint64(0)
	for _, state := range []jobs.State{jobs.Running, jobs.Success} {
		j.State = state
		if err == nil {
			seq, err = b.PublishStatus(ctx, j, seq)
		}
	}
	if err == nil {
		_, err = b.PublishLog(ctx, &Chunk{Host: "a", Job: id, Text: []byte("log\n")}, 0)
	}
	if err == nil {
		_, err = b.PutKept(ctx, "a", id, NewKeptToken(), strings.NewReader("kept"), 4)
	}
	if err != nil {
		t.Fatal(err)
	}
	j.Kept = &jobs.Kept{Files: 1, Bytes: 4}
	return j
}

// held counts what the streams of jobs have.
func held(ctx context.Context, b *Bus) (list []uint64) {
	for _, s := range b.StreamSizes(ctx) {
		if s.Name == "jobs" || s.Name == "logs" || s.Name == "objects" {
			list = append(list, s.Messages)
		}
	}
	return list
}

func newest(ctx context.Context, t *testing.T, b *Bus) uint64 {
	t.Helper()
	seq, err := b.JobsSequence(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// A crash may come behind any of the purges: what has no terminal state any more has no birth.
func TestAJobIsLetGoInAnOrderThatMayBeBrokenOff(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	gone, stays := lived(ctx, t, b, "gone", time.Now()), lived(ctx, t, b, "stays", time.Now())
	if _, err := b.js.Publish(ctx, intakeSubject("a", gone.ID, kindCancel), nil); err != nil {
		t.Fatal(err)
	}
	before := held(ctx, b)
	asked := make(chan *nats.Msg, 10)
	sub, err := b.nc.ChanSubscribe(b.apiPrefix+".STREAM.PURGE.*", asked)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.LetGo(ctx, gone, newest(ctx, t, b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.nc.FlushWithContext(ctx), sub.Unsubscribe()); err != nil {
		t.Fatal(err)
	}
	var purged []string
	for len(asked) > 0 {
		var question struct {
			Filter string `json:"filter"`
		}
		if err := json.Unmarshal((<-asked).Data, &question); err != nil {
			t.Error(err)
		}
		purged = append(purged, question.Filter)
	}
	want := []string{"netlab.jobs.a.gone.log", "netlab.objects.a.gone.*.*", "netlab.jobs.a.gone.request", "netlab.jobs.a.gone.*"}
	if !slices.Equal(purged, want) {
		t.Errorf("purged %q, want %q", purged, want)
	}
	if after := held(ctx, b); !slices.Equal(after, []uint64{before[0] - 4, before[1] - 1, before[2] - 1}) {
		t.Errorf("%d messages, before %d", after, before)
	}
	if _, err := b.LastStatus(ctx, "a", stays.ID); err != nil {
		t.Errorf("the other job: %v", err)
	}
}

// Whoever lets go a job late finds another one under its id, and leaves that alone.
func TestALaterJobOfTheSameIDStays(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	old := lived(ctx, t, b, "j1", time.Now().Add(-time.Hour))
	upTo := newest(ctx, t, b)
	if err := b.LetGo(ctx, old, upTo); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); err != nil {
		t.Fatalf("the id is not free: %v", err)
	}
	before := held(ctx, b)
	if err := b.LetGo(ctx, old, upTo); err != nil {
		t.Fatal(err)
	}
	if after := held(ctx, b); !slices.Equal(after, before) {
		t.Errorf("while it is queued: %d messages, before %d", after, before)
	}
	if standing, err := b.StandingOf(ctx, old, time.Now()); standing != LetGo || err != nil {
		t.Errorf("the birth is another job's, and it is let go: %v %v", standing, err)
	}
	later := job("j1", "a")
	later.State = jobs.Running
	_, err := b.PublishStatus(ctx, later, 0)
	if err == nil {
		_, err = b.PublishLog(ctx, &Chunk{Host: "a", Job: "j1", Text: []byte("another\n")}, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	before = held(ctx, b)
	if err := b.LetGo(ctx, old, upTo); err != nil {
		t.Fatal(err)
	}
	// Where it was born after it was looked, too.
	if err := b.purge(ctx, jobsStream, publicSubject("a", "j1", "*"), upTo); err != nil {
		t.Fatal(err)
	}
	if after := held(ctx, b); !slices.Equal(after, before) {
		t.Errorf("while it runs: %d messages, before %d", after, before)
	}
}

// Of a job whose birth has gone the terminal state may be left. Another one under its id would have ended before it began.
func TestAnIDIsNotFreeBeforeAllHasGone(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	old := lived(ctx, t, b, "j1", time.Now().Add(-time.Hour))
	upTo := newest(ctx, t, b)
	if err := b.purge(ctx, jobsStream, publicSubject("a", "j1", kindRequest), upTo); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 3*submitAttempt)
	defer cancel()
	if _, err := b.Submit(short, &Birth{Job: *job("j1", "b")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if err := b.LetGo(ctx, old, upTo); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "b")}); err != nil {
		t.Error(err)
	}
}

func TestTheHorizonMovesOnAlone(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	now := time.Now()
	for _, step := range []struct{ to, want time.Time }{{now, now}, {now.Add(-time.Hour), now}, {now.Add(time.Hour), now.Add(time.Hour)}} {
		if err := b.MoveHorizon(ctx, step.to); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Horizon(ctx); err != nil || !got.Equal(step.want) {
			t.Errorf("%s %v, want %s", got, err, step.want)
		}
	}
}

// A job without a birth was let go if the horizon is behind the time at which it still lived, and else lost.
func TestLetGoOrLost(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	now := time.Now()
	is := func(want Standing, since time.Time) {
		t.Helper()
		if got, err := b.StandingOf(ctx, job("j1", "a"), since); err != nil || got != want {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	is(Lost, now)
	if err := b.MoveHorizon(ctx, now); err != nil {
		t.Fatal(err)
	}
	is(LetGo, now.Add(-time.Second))
	is(Lost, now.Add(time.Second))
	if _, err := b.Submit(ctx, &Birth{Job: *job("j1", "a")}); err != nil {
		t.Fatal(err)
	}
	is(Stored, now.Add(-time.Second))
}

// The horizon that nobody can read is removed as the message says, by the stock client: what that leaves behind is none.
func TestAHorizonThatWasRemoved(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	kv, err := b.js.KeyValue(ctx, retentionBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "horizon", "garbage"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Horizon(ctx); err == nil || !strings.Contains(err.Error(), "remove it: nats kv del netlab_retention horizon") {
		t.Errorf("%v", err)
	}
	if err := kv.Delete(ctx, "horizon"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Horizon(ctx); err != nil || !got.IsZero() {
		t.Errorf("%s %v, want none", got, err)
	}
	now := time.Now()
	if err := b.MoveHorizon(ctx, now); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Horizon(ctx); err != nil || !got.Equal(now) {
		t.Errorf("%s %v, want %s", got, err, now)
	}
	// Another one than the one that was read stays.
	for _, step := range []struct{ drop, want time.Time }{{now.Add(-time.Hour), now}, {now, time.Time{}}} {
		if err := b.DropHorizon(ctx, step.drop); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Horizon(ctx); err != nil || !got.Equal(step.want) {
			t.Errorf("%s %v, want %s", got, err, step.want)
		}
	}
}
