package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/bus/embedded"
	"netlab-runner/internal/jobs"
)

// lagging connects to a bus of which the copies that answer direct gets are behind: the next answers are those in turn, and
// what is there after them.
func lagging(t *testing.T, s *embedded.Server, answers ...*nats.Msg) *Bus {
	t.Helper()
	var count atomic.Int64
	return through(t, s, func(string, *nats.Msg) *nats.Msg {
		if n := int(count.Add(1)) - 1; n < len(answers) {
			return answers[n]
		}
		return nil
	})
}

// through connects to a bus whose questions are answered by the function, or by the bus where that returns nil. The subject comes without
// the prefix of the API.
func through(t *testing.T, s *embedded.Server, answer func(subject string, question *nats.Msg) *nats.Msg) *Bus {
	t.Helper()
	prefix := nats.NewInbox() // of its own: another one of the same test still answers
	real := connect(t, Config{Server: s})
	sub, err := real.nc.Subscribe(prefix+".>", func(m *nats.Msg) {
		subject := strings.TrimPrefix(m.Subject, prefix+".")
		if given := answer(subject, m); given != nil {
			reply := nats.NewMsg(m.Reply)
			reply.Header, reply.Data = given.Header, given.Data
			_ = real.nc.PublishMsg(reply)
			return
		}
		_ = real.nc.PublishRequest("$JS.API."+subject, m.Reply, m.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := real.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return connect(t, Config{Server: s, APIPrefix: prefix})
}

// readyServer is a server with the streams made, and a connection to it.
func readyServer(t *testing.T) (context.Context, *embedded.Server, *Bus) {
	t.Helper()
	ctx := deadline(t)
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b := connect(t, Config{Server: s})
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	return ctx, s, b
}

func absent() *nats.Msg { return &nats.Msg{Header: nats.Header{"Status": {"404"}}} }

// Who publishes again what was stored already, because the answer was lost, must not take it for somebody else's: not even
// where the copy that is asked does not have it yet.
func TestARepeatedPublishBeforeACopyThatIsBehind(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	birth := job("j", "a")
	m, err := b.jobEvent(kindRequest, birth, birth)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(b *Bus) (uint64, error) {
		return b.commit(ctx, jobsStream, m, publicSubject("a", "j", kindRequest), publicSubject("*", "j", kindRequest), 0)
	}
	born, err := publish(b)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := publish(lagging(t, s, absent(), absent())); err != nil || seq != born {
		t.Errorf("a birth: %d %v, want %d", seq, err, born)
	}

	state, err := b.jobEvent(kindStatus, birth, birth)
	if err != nil {
		t.Fatal(err)
	}
	subject := publicSubject("a", "j", kindStatus)
	first, err := b.commit(ctx, jobsStream, state, subject, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.lastMessage(ctx, jobsStream, subject)
	if err != nil {
		t.Fatal(err)
	}
	if state, err = b.jobEvent(kindStatus, birth, birth); err != nil {
		t.Fatal(err)
	}
	second, err := b.commit(ctx, jobsStream, state, subject, "", first)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := lagging(t, s, absent(), old, old).commit(ctx, jobsStream, state, subject, "", first); err != nil || seq != second {
		t.Errorf("a state: %d %v, want %d", seq, err, second)
	}
	// Nor where it is behind for longer than one try waits.
	var long []*nats.Msg
	for range copyPatience/copyPause + 1 {
		long = append(long, old)
	}
	seq, err := lagging(t, s, long...).insist(ctx, "a state", jobsStream, state, subject, first, ErrUnavailable)
	if err != nil || seq != second {
		t.Errorf("a state, long after: %d %v, want %d", seq, err, second)
	}
}

// A copy that stays behind proves nothing.
func TestACopyThatStaysBehind(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	if _, err := b.Submit(ctx, &Birth{Job: *job("j", "a")}); err != nil {
		t.Fatal(err)
	}
	var behind []*nats.Msg
	for range 10_000 {
		behind = append(behind, absent())
	}
	short, cancel := context.WithTimeout(ctx, 2*copyPatience)
	defer cancel()
	_, err := lagging(t, s, behind...).Submit(short, &Birth{Job: *job("j", "a")})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "may have been accepted as j") {
		t.Errorf("%v, want ErrUnavailable and the doubt", err)
	}
	// What is there no more is no copy that is behind.
	soon, cancel := context.WithTimeout(ctx, 2*copyPatience)
	defer cancel()
	if _, err := b.PublishStatus(soon, job("j", "a"), 77); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	// Nor is one that stays where it is: the stream has lost what came after.
	if _, err := b.PublishStatus(ctx, job("j", "a"), 0); err != nil {
		t.Fatal(err)
	}
	b.behindPatience = 0
	if _, err := b.PublishStatus(ctx, job("j", "a"), 77); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
}

// What decides something is asked of the leader, and all is read that it has: also where the copy that answers, and that has the
// consumers, has nothing yet.
func TestWhatIsReadThroughACopyThatIsBehind(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	ended, seq := endedJob(ctx, t, real, "j")
	horizon := time.Unix(1_800_000_000, 0).UTC()
	if err := real.MoveHorizon(ctx, horizon); err != nil {
		t.Fatal(err)
	}
	chunk := &Chunk{Host: "a", Job: "j"}
	for range 3 {
		var err error
		chunk.Text = []byte("line\n")
		if chunk.Seq, err = real.PublishLog(ctx, chunk, chunk.Seq); err != nil {
			t.Fatal(err)
		}
		chunk.Offset = chunk.End()
	}
	object := noise(2*pieceSize + 1)
	if err := real.PutObject(ctx, "a", "j", object); err != nil {
		t.Fatal(err)
	}
	list := keeps(ctx, t, real, "j", object)
	canceled, err := real.RequestCancel(ctx, "a", "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := real.Place(ctx, "/lab", "a"); err != nil {
		t.Fatal(err)
	}
	behind := through(t, s, func(subject string, question *nats.Msg) *nats.Msg {
		switch {
		case strings.HasPrefix(subject, "DIRECT.GET."):
			return absent()
		case strings.HasPrefix(subject, "CONSUMER.CREATE."):
			answer, err := real.nc.Request("$JS.API."+subject, question.Data, 5*time.Second)
			if err != nil {
				t.Error(err)
				return nil
			}
			answer.Data = regexp.MustCompile(`"num_pending":\d+`).ReplaceAll(answer.Data, []byte(`"num_pending":0`))
			return answer
		}
		return nil
	})
	if last, err := behind.LastStatus(ctx, "a", "j"); err != nil || last.Seq != seq {
		t.Errorf("the last state: %+v, %v", last, err)
	}
	if last, err := behind.LastChunk(ctx, "a", "j"); err != nil || last.End() != chunk.Offset {
		t.Errorf("the last chunk: %+v, %v", last, err)
	}
	end := int64(0)
	if err := behind.ReadLog(ctx, "a", "j", func(c *Chunk) error { end = c.End(); return nil }); err != nil || end != chunk.Offset {
		t.Errorf("%d bytes of %d are read, %v", end, chunk.Offset, err)
	}
	if _, born, err := behind.Birth(ctx, "a", "j"); err != nil || born == 0 {
		t.Errorf("the birth: %d, %v", born, err)
	}
	if at, err := behind.Horizon(ctx); err != nil || !at.Equal(horizon) {
		t.Errorf("the horizon: %s, %v", at, err)
	}
	if got, err := behind.Object(ctx, "a", "j", RefOf(ObjectBundle, object)); err != nil || !bytes.Equal(got, object) {
		t.Errorf("the object: %d bytes, %v", len(got), err)
	}
	if got, err := behind.KeptList(ctx, "a", "j"); err != nil || len(got.Files) != 1 || got.Files[0] != list.Files[0] {
		t.Errorf("what was kept: %+v, %v", got, err)
	}
	if got, err := keptContent(ctx, behind, "j", &list.Files[0]); err != nil || !bytes.Equal(got, object) {
		t.Errorf("a kept file: %d bytes, %v", len(got), err)
	}
	if host, err := behind.PlaceOf(ctx, "/lab"); err != nil || host != "a" {
		t.Errorf("the place: %q, %v", host, err)
	}
	if requested, err := behind.CancelRequested(ctx, "a", "other"); err != nil || !requested {
		t.Errorf("a cancel request: %t, %v", requested, err)
	}
	if again, err := behind.RequestCancel(ctx, "a", "other"); err != nil || again != canceled {
		t.Errorf("a cancel request again: %d, %v, want %d", again, err, canceled)
	}
	if err := real.purge(ctx, jobsStream, publicSubject("a", "other", "*"), 0); err != nil {
		t.Fatal(err)
	}
	if err := behind.LetGo(ctx, ended, seq); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{jobsStream, logsStream} {
		if left, err := real.lastSeq(ctx, stream, everySubject); err != nil || left > 0 {
			t.Errorf("%s has %d of a job that was let go, %v", stream, left, err)
		}
	}
}

// endedJob is a job that was born and has ended, with the sequence of its end.
func endedJob(ctx context.Context, t *testing.T, b *Bus, id string) (j *jobs.Job, seq uint64) {
	t.Helper()
	j = job(id, "a")
	if _, err := b.Submit(ctx, &Birth{Job: *j}); err != nil {
		t.Fatal(err)
	}
	j.State = jobs.Success
	seq, err := b.PublishStatus(ctx, j, 0)
	if err != nil {
		t.Fatal(err)
	}
	return j, seq
}

// endedJobs are so many of them, with the sequence of the last one's end.
func endedJobs(ctx context.Context, t *testing.T, b *Bus, count int) (list []*jobs.Job, seq uint64) {
	t.Helper()
	for i := range count {
		var j *jobs.Job
		j, seq = endedJob(ctx, t, b, fmt.Sprint("j", i))
		list = append(list, j)
	}
	return list, seq
}

// withStates is a connection to a bus that has the states of so many jobs.
func withStates(t *testing.T, count int) (context.Context, *Bus) {
	t.Helper()
	ctx, b := ready(t)
	for i := range count {
		if _, err := b.PublishStatus(ctx, job(fmt.Sprint("j", i), "a"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return ctx, b
}

// A stream that is lost while it is read, and made anew with nothing in it, was not read to its end.
func TestAStreamThatIsLostWhileItIsRead(t *testing.T) {
	t.Parallel()
	ctx, b := withStates(t, 5)
	reading, goOn := make(chan struct{}, 5), make(chan struct{})
	all := false
	followed := make(chan error, 1)
	go func() {
		followed <- b.FollowJobs(ctx, true, func(*JobMessage) { reading <- struct{}{}; <-goOn }, nil, func() { all = true })
	}()
	<-reading
	if err := b.js.DeleteStream(ctx, jobsStream); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureStreams(ctx, testLimits); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(8*extentPause, func() { close(goOn) })
	if err := <-followed; !errors.Is(err, ErrLost) || all {
		t.Errorf("%v, and all is read: %t", err, all)
	}
}

// The same, where it is lost before anything of it was read.
func TestAStreamThatIsLostBeforeItIsRead(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	if _, err := real.PublishStatus(ctx, job("j", "a"), 0); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	b := through(t, s, func(subject string, _ *nats.Msg) *nats.Msg {
		if subject == "STREAM.MSG.GET."+jobsStream && asked.Add(1) == 1 {
			if err := errors.Join(real.js.DeleteStream(ctx, jobsStream), real.EnsureStreams(ctx, testLimits)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	all := false
	if err := b.FollowJobs(ctx, true, func(*JobMessage) {}, nil, func() { all = true }); !errors.Is(err, ErrLost) || all {
		t.Errorf("%v, and all is read: %t", err, all)
	}
}

// What is stored while reading begins is the newest of its subject to the consumer, which gives nothing before it: all is read when it is.
// The client may make the consumer once more before anything was read, and the server under the same name, when it is started anew.
func TestWhatIsStoredWhileReadingBegins(t *testing.T) {
	t.Parallel()
	const creation, question = "CONSUMER.CREATE.", "CONSUMER.MSG.NEXT."
	for name, moment := range map[string]string{
		"before the consumer is made": creation, "before the client makes it once more": question, "before the server makes it once more": question,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, real := readyServer(t)
			one, other := job("one", "a"), job("other", "a")
			if _, err := real.Submit(ctx, &Birth{Job: *one}); err != nil {
				t.Fatal(err)
			}
			store := func(j *jobs.Job, state jobs.State, last uint64) (seq uint64) {
				j.State = state
				seq, err := real.PublishStatus(ctx, j, last)
				if err != nil {
					t.Error(err)
				}
				return seq
			}
			last := store(one, jobs.Running, 0)
			var asked atomic.Int64
			var made nats.Msg
			b := through(t, s, func(subject string, m *nats.Msg) *nats.Msg {
				if strings.HasPrefix(subject, creation) {
					made = nats.Msg{Subject: "$JS.API." + subject, Data: m.Data}
				}
				if !strings.HasPrefix(subject, moment) || asked.Add(1) != 1 {
					return nil
				}
				store(other, jobs.Running, 0)
				store(one, jobs.Success, last)
				switch name {
				case "before the client makes it once more":
					return &nats.Msg{Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}}
				case "before the server makes it once more":
					if err := real.js.DeleteConsumer(ctx, jobsStream, subject[strings.LastIndexByte(subject, '.')+1:]); err != nil {
						t.Error(err)
					}
					if _, err := real.nc.RequestMsgWithContext(ctx, &made); err != nil {
						t.Error(err)
					}
				}
				return nil
			})
			following, end := context.WithCancel(ctx)
			defer end()
			states := map[string]jobs.State{}
			err := b.FollowJobs(following, true, func(m *JobMessage) { states[m.ID] = m.State }, nil, end)
			if want := map[string]jobs.State{"one": jobs.Success, "other": jobs.Running}; !errors.Is(err, context.Canceled) || !maps.Equal(states, want) {
				t.Errorf("%v, and then %v", states, err)
			}
		})
	}
}

// What is let go while reading begins was to be given by the consumer, which waits for seconds with each of it: what is left, and what comes
// then, is read without it.
func TestWhatIsLetGoWhileReadingBegins(t *testing.T) {
	t.Parallel()
	const count = 8
	for name, left := range map[string]int{"all of it": 0, "all but one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, real := readyServer(t)
			ended, seq := endedJobs(ctx, t, real, count)
			var asked, deleted atomic.Int64
			b := through(t, s, func(subject string, _ *nats.Msg) *nats.Msg {
				if strings.HasPrefix(subject, "CONSUMER.MSG.NEXT.") && asked.Add(1) == 1 {
					for _, j := range ended[:count-left] {
						if err := real.LetGo(ctx, j, seq); err != nil {
							t.Error(err)
						}
					}
				}
				if strings.HasPrefix(subject, "CONSUMER.DELETE.") && deleted.Add(1) == 1 {
					return &nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10008,"description":"system temporarily unavailable"}}`)}
				}
				return nil
			})
			following, end := context.WithCancel(ctx)
			defer end()
			var read []string
			err := b.FollowJobs(following, true, func(m *JobMessage) {
				if read = append(read, m.ID); m.ID == "next" {
					end()
				}
			}, nil, func() {
				if _, err := real.Submit(ctx, &Birth{Job: *job("next", "a")}); err != nil {
					t.Error(err)
				}
			})
			want := "next"
			if left > 0 {
				want = "j7 next"
			}
			if got := strings.Join(read, " "); ctx.Err() != nil || !errors.Is(err, context.Canceled) || got != want {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// The same, where it is the newest that is let go, and what is left is read after it was looked what there is.
func TestTheNewestIsLetGoWhileOthersAreRead(t *testing.T) {
	t.Parallel()
	const count, before, left = 12, 2, 3 // so many jobs there are, are read before the others go, and stay
	ctx, s, real := readyServer(t)
	ended, seq := endedJobs(ctx, t, real, count)
	var gone atomic.Bool
	looks := 0
	var rest *nats.Msg
	b := through(t, s, func(subject string, m *nats.Msg) *nats.Msg {
		switch {
		case strings.HasPrefix(subject, "CONSUMER.MSG.NEXT.") && rest == nil:
			rest = &nats.Msg{Subject: "$JS.API." + subject, Reply: m.Reply, Data: m.Data}
			few := fmt.Appendf(nil, `{"batch":%d,"expires":30000000000}`, 2*before) // a birth and an end of each
			if err := real.nc.PublishRequest(rest.Subject, rest.Reply, few); err != nil {
				t.Error(err)
			}
			return &nats.Msg{Header: nats.Header{"Status": {"100"}}}
		case gone.Load() && subject == "STREAM.MSG.GET."+jobsStream && strings.Contains(string(m.Data), "last_by_subj"):
			if looks++; looks == 2 { // the answer to the first was taken in
				if err := real.nc.PublishMsg(rest); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	})
	following, end := context.WithCancel(ctx)
	defer end()
	var read []string
	err := b.FollowJobs(following, true, func(m *JobMessage) {
		switch read = append(read, m.ID); {
		case m.ID == "next":
			end()
		case len(read) == before:
			for _, j := range ended[left:] {
				if err := real.LetGo(ctx, j, seq); err != nil {
					t.Error(err)
				}
			}
			gone.Store(true)
		}
	}, nil, func() {
		if _, err := real.Submit(ctx, &Birth{Job: *job("next", "a")}); err != nil {
			t.Error(err)
		}
	})
	if got := strings.Join(read, " "); ctx.Err() != nil || !errors.Is(err, context.Canceled) || got != "j0 j1 j2 next" {
		t.Errorf("read %q, %v", got, err)
	}
}

// A copy of the stream that is behind has jobs that were let go: who asks for one is not told of them.
func TestAJobThatWasLetGoIsFoundNowhere(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	old := map[string]*nats.Msg{}
	j, seq := endedJob(ctx, t, real, "j")
	for _, kind := range []string{kindRequest, kindStatus} {
		var err error
		if old[kind], err = real.lastMessage(ctx, jobsStream, publicSubject("a", "j", kind)); err != nil {
			t.Fatal(err)
		}
	}
	if err := real.LetGo(ctx, j, seq); err != nil {
		t.Fatal(err)
	}
	b := through(t, s, func(subject string, m *nats.Msg) *nats.Msg {
		if !strings.HasPrefix(subject, "DIRECT.GET."+jobsStream) {
			return nil
		}
		for kind, message := range old {
			if strings.Contains(subject+string(m.Data), "."+kind) {
				return message
			}
		}
		return nil
	})
	if found, err := b.FindJob(ctx, "j"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the job: %v, %v", found, err)
	}
	if found, err := b.FindBirth(ctx, "j"); !errors.Is(err, ErrNotFound) {
		t.Errorf("its birth: %v, %v", found, err)
	}
}

// withCopy connects to a bus of which the copies answer direct gets of the subject with what it has now, whatever comes.
func withCopy(ctx context.Context, t *testing.T, s *embedded.Server, real *Bus, stream, subject string) *Bus {
	t.Helper()
	old, err := real.lastMessage(ctx, stream, subject)
	if err != nil {
		t.Fatal(err)
	}
	return through(t, s, func(asked string, _ *nats.Msg) *nats.Msg {
		if asked == "DIRECT.GET."+stream+"."+subject {
			return old
		}
		return nil
	})
}

// A copy that is behind has the cancel request of a job that was let go, and whose key has made another one: nobody has asked for the end of
// that, and who does is not told that it was stored before.
func TestACancelOfAJobThatWasLetGo(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	j := job("j", "a")
	canceled, err := real.RequestCancel(ctx, "a", "j")
	if err != nil {
		t.Fatal(err)
	}
	behind := withCopy(ctx, t, s, real, jobsStream, publicSubject("a", "j", kindCancel))
	j.State = jobs.Canceled
	seq, err := real.CancelQueued(ctx, j)
	if err != nil {
		t.Fatal(err)
	}
	if err := real.LetGo(ctx, j, seq); err != nil {
		t.Fatal(err)
	}
	if _, err := real.Submit(ctx, &Birth{Job: *job("j", "a")}); err != nil {
		t.Fatal(err)
	}
	if requested, err := behind.CancelRequested(ctx, "a", "j"); err != nil || requested {
		t.Errorf("the later job is to be canceled: %t, %v", requested, err)
	}
	if again, err := behind.RequestCancel(ctx, "a", "j"); err != nil || again <= canceled {
		t.Errorf("requested at %d, and of the first job at %d (%v)", again, canceled, err)
	}
	if requested, err := real.CancelRequested(ctx, "a", "j"); err != nil || !requested {
		t.Errorf("the request was not stored: %v", err)
	}
}

// A copy that is behind has the host that had a directory before.
func TestAPlaceThatHasMoved(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	if _, _, err := real.Place(ctx, "/lab", "a"); err != nil {
		t.Fatal(err)
	}
	behind := withCopy(ctx, t, s, real, placesStream, "$KV."+placesBucket+"."+placeKey("/lab"))
	if err := real.MovePlace(ctx, "/lab", "b"); err != nil {
		t.Fatal(err)
	}
	if host, err := behind.PlaceOf(ctx, "/lab"); err != nil || host != "b" {
		t.Errorf("on %q, %v", host, err)
	}
}

// A handler that goes on when its stream was lost does not say that all is read, though it has the newest message that there was.
func TestAHandlerThatOutlivesItsStream(t *testing.T) {
	t.Parallel()
	ctx, b := withStates(t, 1)
	reading, goOn, all := make(chan struct{}), make(chan struct{}), make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		followed <- b.FollowJobs(ctx, true, func(*JobMessage) { close(reading); <-goOn }, nil, func() { close(all) })
	}()
	<-reading
	if err := errors.Join(b.js.DeleteStream(ctx, jobsStream), b.EnsureStreams(ctx, testLimits)); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	close(goOn)
	select {
	case <-all:
		t.Error("all is said to be read")
	case <-time.After(100 * time.Millisecond):
	}
}

// A stream that is not there is one that an API makes again, and not one without the message.
func TestTheLastStateOfAStreamThatIsLost(t *testing.T) {
	t.Parallel()
	ctx, _, b := readyServer(t)
	if err := b.js.DeleteStream(ctx, jobsStream); err != nil {
		t.Fatal(err)
	}
	if _, err := b.LastStatus(ctx, "a", "j"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// What was stored last may have been let go: what was stored before is to be read all the same.
func TestTheEndOfAStreamWasLetGo(t *testing.T) {
	t.Parallel()
	ctx, b := withStates(t, 5)
	last := job("last", "a")
	last.State = jobs.Success
	seq, err := b.PublishStatus(ctx, last, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"j0", "last"} {
		if _, err := b.PublishLog(ctx, &Chunk{Host: "a", Job: id, Text: []byte("text")}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.LetGo(ctx, last, seq); err != nil {
		t.Fatal(err)
	}
	states, chunks := 0, 0
	following, end := context.WithCancel(ctx)
	defer end()
	if err := b.FollowJobs(following, true, func(*JobMessage) { states++ }, nil, end); !errors.Is(err, context.Canceled) || states != 5 {
		t.Errorf("%d states of 5 are read, %v", states, err)
	}
	following, end = context.WithCancel(ctx)
	defer end()
	if err := b.FollowLogs(following, Mark{}, func(*Chunk, Mark) { chunks++ }, end); !errors.Is(err, context.Canceled) || chunks != 1 {
		t.Errorf("%d chunks of 1 are read, %v", chunks, err)
	}
}

// Following ends though what is read is not taken in, because a disk hangs say.
func TestFollowingEndsWhileAMessageIsTakenIn(t *testing.T) {
	t.Parallel()
	ctx, b := withStates(t, 5)
	following, end := context.WithCancel(ctx)
	reading, goOn := make(chan struct{}, 5), make(chan struct{})
	defer close(goOn)
	followed := make(chan error, 1)
	go func() {
		followed <- b.FollowJobs(following, true, func(*JobMessage) { reading <- struct{}{}; <-goOn }, nil, func() {})
	}()
	<-reading
	time.Sleep(3 * extentPause) // in which it is looked whether all is read
	end()
	select {
	case err := <-followed:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("it does not end")
	}
}

// Two APIs that start at once make the same stream, on a server that has no room for two.
func TestAStreamThatAnotherAPIMakesMeanwhile(t *testing.T) {
	t.Parallel()
	ctx, s, b := readyServer(t)
	var disk unix.Statfs_t
	if err := unix.Statfs(t.TempDir(), &disk); err != nil {
		t.Fatal(err)
	}
	limits := testLimits
	limits.LogsBytes = int64(disk.Bavail) * disk.Bsize / 2 // the server uses three quarters
	if err := b.EnsureStreams(ctx, limits); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	other := through(t, s, func(subject string, _ *nats.Msg) *nats.Msg {
		if subject == "STREAM.INFO."+logsStream && asked.Add(1) == 1 {
			return &nats.Msg{Data: []byte(`{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}`)}
		}
		return nil
	})
	if err := other.EnsureStreams(ctx, limits); err != nil {
		t.Error(err)
	}
	if asked.Load() < 2 {
		t.Error("the server had room for two")
	}
}

// What there was to read may go before it is read: all is read then all the same.
func TestTheNewestMessageGoesBeforeItIsRead(t *testing.T) {
	t.Parallel()
	ctx, s, real := readyServer(t)
	if _, err := real.PublishStatus(ctx, job("j", "a"), 0); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	b := through(t, s, func(subject string, _ *nats.Msg) *nats.Msg {
		if strings.HasPrefix(subject, "STREAM.MSG.GET.") && asked.Add(1) == 1 {
			return &nats.Msg{Data: []byte(`{"message":{"seq":99}}`)}
		}
		return nil
	})
	following, end := context.WithCancel(ctx)
	defer end()
	read := 0
	_ = b.FollowJobs(following, true, func(*JobMessage) { read++ }, nil, end)
	if ctx.Err() != nil || read != 1 {
		t.Errorf("%d messages are read, %v", read, ctx.Err())
	}
}
