package bus

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is old enough to go is so by the clock that has said when it was stored, however far this machine's own is from that.
func TestTheClockOfTheBus(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ours is ahead": -24 * time.Hour, "ours is behind": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, real := readyServer(t)
			b := through(t, s, func(subject string, m *nats.Msg) *nats.Msg {
				info, direct := strings.HasPrefix(subject, "STREAM.INFO."), strings.HasPrefix(subject, "DIRECT.GET.")
				if !info && !direct {
					return nil
				}
				answer, err := real.nc.RequestWithContext(ctx, "$JS.API."+subject, m.Data)
				if err != nil {
					t.Error(err)
					return nil
				}
				if direct {
					at, err := time.Parse(time.RFC3339Nano, answer.Header.Get(jetstream.TimeStampHeaer))
					if err != nil {
						t.Error(err)
					}
					answer.Header.Set(jetstream.TimeStampHeaer, at.Add(by).Format(time.RFC3339Nano))
					return answer
				}
				content := map[string]any{}
				if err := json.Unmarshal(answer.Data, &content); err != nil {
					t.Error(err)
				}
				content["ts"] = time.Now().Add(by)
				if answer.Data, err = json.Marshal(content); err != nil {
					t.Error(err)
				}
				return answer
			})
			if now := b.Now(); !now.IsZero() {
				t.Errorf("nothing was asked, and it is %s", now)
			}
			before := time.Now()
			if _, err := b.JobsSequence(ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			if now := b.Now().Add(-by); now.Before(before.Add(10*time.Millisecond)) || now.After(time.Now()) {
				t.Errorf("it is %s, want between %s and now", now, before)
			}
			if err := real.PutObject(ctx, "a", "young", []byte("content")); err != nil {
				t.Fatal(err)
			}
			sweep := func(young time.Duration) bool {
				t.Helper()
				if err := b.sweepObjects(ctx, young, func(string) Needs { return Needs{} }); err != nil {
					t.Fatal(err)
				}
				_, err := real.Object(ctx, "a", "young", RefOf(ObjectBundle, []byte("content")))
				return err == nil
			}
			if !sweep(objectsYoung) {
				t.Error("a young object is gone")
			}
			if time.Sleep(2 * time.Millisecond); sweep(time.Millisecond) {
				t.Error("an old object is still there")
			}
		})
	}
}
