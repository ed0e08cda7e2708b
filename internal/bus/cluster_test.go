package bus

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"netlab-runner/internal/jobs"
)

// cluster is three servers that keep three copies of everything.
type cluster struct {
	t       *testing.T
	options []*server.Options
	servers []*server.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, "nats://"+l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, route := range routes {
		_, port, _ := strings.Cut(strings.TrimPrefix(route, "nats://"), ":")
		o := &server.Options{
			ServerName: fmt.Sprint("s", i), JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
			Host: "127.0.0.1", Port: server.RANDOM_PORT,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1"},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		}
		if _, err := fmt.Sscan(port, &o.Cluster.Port); err != nil {
			t.Fatal(err)
		}
		c.options = append(c.options, o)
		c.servers = append(c.servers, nil)
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i])
	if err != nil {
		c.t.Error(err)
		return
	}
	c.servers[i] = s
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		c.t.Error("a server did not start")
		return
	}
	c.options[i].Port = s.Addr().(*net.TCPAddr).Port
}

func (c *cluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

func (c *cluster) url() string {
	var urls []string
	for _, s := range c.servers {
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ",")
}

// leaderOf is the server that leads a stream, "" where none says so.
func leaderOf(ctx context.Context, b *Bus, stream string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// While the leaders of the streams change, and a server goes and comes, every message is stored once and in its order.
func TestTheLeaderChanges(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := newCluster(t)
	b := connect(t, Config{URL: c.url()})
	limits := testLimits
	limits.Replicas = 3
	if err := b.EnsureStreams(ctx, limits); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	// How often the leader of each stream was another one than before, of those that stepped down.
	changes := map[string]*atomic.Int64{jobsStream: {}, logsStream: {}}
	go func() {
		defer close(ended)
		asked := map[string]string{} // who led each stream when it was asked to step down, and did
		for round := 0; ; round++ {
			for stream, changed := range changes {
				leader := leaderOf(ctx, b, stream)
				if before := asked[stream]; before != "" && leader != "" && leader != before {
					changed.Add(1)
				}
				asked[stream] = ""
				if m, err := b.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err == nil && strings.Contains(string(m.Data), `"success":true`) {
					asked[stream] = leader
				}
			}
			if round == 1 {
				c.stop(0)
				c.start(0)
			}
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	var seq uint64
	log, want := &Chunk{Host: "a", Job: "j0"}, ""
	running := job("j0", "a")
	began, rounds := time.Now(), 0
	for ; rounds < 30 || changes[jobsStream].Load() == 0 || changes[logsStream].Load() == 0; rounds++ {
		i := rounds
		if i >= 30 { // the limits of the streams are small
			time.Sleep(50 * time.Millisecond)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("no other leader: of the jobs %d times, of the logs %d times", changes[jobsStream].Load(), changes[logsStream].Load())
		}
		j := job(fmt.Sprint("j", i), "a")
		if err := b.Retry(ctx, "birth", func(ctx context.Context) error { _, err := b.Submit(ctx, &Birth{Job: *j}); return err }); err != nil {
			t.Fatal(err)
		}
		running.State, running.Phase = jobs.Running, fmt.Sprint("phase ", i)
		var err error
		if seq, err = b.PublishStatus(ctx, running, seq); err != nil {
			t.Fatalf("phase %d: %v", i, err)
		}
		log.Text = fmt.Appendf(nil, "line %d\n", i)
		if log.Seq, err = b.PublishLog(ctx, log, log.Seq); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		log.Offset += int64(len(log.Text))
		want += string(log.Text)
	}
	close(stop)
	<-ended

	var got strings.Builder
	err := b.Retry(ctx, "log", func(ctx context.Context) error {
		got.Reset()
		return b.ReadLog(ctx, "a", "j0", func(c *Chunk) error {
			if c.Offset != int64(got.Len()) {
				t.Errorf("a chunk at %d, want %d", c.Offset, got.Len())
			}
			got.Write(c.Text)
			return nil
		})
	})
	if err != nil || got.String() != want {
		t.Errorf("%v, the log has %d bytes, want %d", err, got.Len(), len(want))
	}
	stream, err := b.js.Stream(ctx, jobsStream)
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.State.Msgs != uint64(2*rounds) {
		t.Errorf("%d messages, want as many births and states as rounds, %d", info.State.Msgs, rounds)
	}
}
