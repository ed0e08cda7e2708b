package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/bus"
)

// What a figure cannot be faster than, with the promises of this program: the same calls as here, and the same files, by nobody's code
// but that of the parts.

// leastConfig is what the role least-post is told.
type leastConfig struct {
	Dir string
	// Birth is that of a job which an API has accepted.
	Birth message
}

// The streams of netlab-api that an acceptance writes to.
const (
	jobsStream   = "NETLAB_JOBS"
	placesStream = "KV_netlab_placements"
)

// roleLeastPost is a handler that gives a directory to a host and publishes a birth, each with the check that there is none, to streams as
// netlab-api makes them, and has the birth come back from there. Whatever it is asked, it answers how many have come.
func roleLeastPost(ctx context.Context, config json.RawMessage, t *talk) error {
	var c leastConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	bare, err := startBareServer(ctx, c.Dir, true)
	if err != nil {
		return err
	}
	defer bare.stop()
	if err := makeStreams(ctx, bare); err != nil {
		return err
	}
	stream, err := bare.js.Stream(ctx, jobsStream)
	if err != nil {
		return err
	}
	intake := strings.TrimSuffix(stream.CachedInfo().Config.SubjectTransform.Source, ">")
	public := strings.TrimSuffix(stream.CachedInfo().Config.SubjectTransform.Destination, ">")
	follower, err := bare.js.OrderedConsumer(ctx, jobsStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return err
	}
	var came atomic.Int64
	following, err := follower.Consume(func(jetstream.Msg) { came.Add(1) })
	if err != nil {
		return err
	}
	defer following.Stop()
	go t.answerWith(ctx, func() any { return came.Load() })
	app := newFiber()
	app.Post("/jobs", func(f *fiber.Ctx) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var asked struct {
			Workdir string `json:"workdir"`
		}
		if err := json.Unmarshal(f.Body(), &asked); err != nil {
			return err
		}
		place := nats.NewMsg("$KV." + strings.TrimPrefix(placesStream, "KV_") + "." + strings.ReplaceAll(asked.Workdir[1:], "/", "_"))
		place.Data = []byte("bench")
		if _, err := bare.js.PublishMsg(ctx, place, jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
			return err
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		birth := copyOf(c.Birth)
		check := jetstream.WithExpectLastSequenceForSubject(0, public+"*."+id.String()+".request")
		if _, err := send(ctx, bare.js, birth, intake+"bench."+id.String()+".request", check); err != nil {
			return err
		}
		return f.Status(fiber.StatusAccepted).JSON(fiber.Map{"id": id.String()})
	})
	return serveFiber(ctx, app, t)
}

// checkBirths waits until so many births have come back to a process in the role least-post, and checks that no more have.
func checkBirths(ctx context.Context, c *child, count int) error {
	for end := time.Now().Add(patience); ; {
		var came int
		if err := c.ask("births", &came); err != nil {
			return err
		}
		if came == count {
			return nil
		}
		if came > count || time.Now().After(end) {
			return fmt.Errorf("%d births have come back, want %d", came, count)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// makeStreams makes those of netlab-api.
func makeStreams(ctx context.Context, bare *bareServer) error {
	b, err := bus.Connect(bus.Config{URL: bare.server.ClientURL(), Name: "bench"})
	if err != nil {
		return err
	}
	defer b.Close()
	return b.EnsureStreams(ctx, bus.Limits{Replicas: 1, JobsBytes: 512 << 20, LogsBytes: 512 << 20, ObjectsBytes: 512 << 20, Lease: time.Minute})
}

// birthOf is the birth of a job that a system has accepted.
func (s *system) birthOf(ctx context.Context, id string) (message, error) {
	conn, js, err := s.connect()
	if err != nil {
		return message{}, err
	}
	defer conn.Close()
	all, err := readAll(ctx, js, jobsStream, "netlab.jobs.*."+id+".request")
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("job %s has %d births", id, len(all))
	}
	if err != nil {
		return message{}, err
	}
	birth := all[0]
	for name := range birth.Header {
		if strings.HasPrefix(name, "Nats-") { // the checks of that publish
			birth.Header.Del(name)
		}
	}
	return birth, nil
}

// leastFiles are the files of a job that has to outlive its worker: what is taken is on the disk before it is acknowledged, and how it
// ended before that is published; and the job's own. Of nil there are none.
type leastFiles struct{ dir string }

func (l *leastFiles) take(job string, request []byte) error {
	if l == nil {
		return nil
	}
	work := filepath.Join(l.dir, "labs", job)
	return errors.Join(
		writeSynced(filepath.Join(l.dir, "requests"), job, request),
		os.MkdirAll(work, 0o755),
		os.WriteFile(filepath.Join(work, "topology.yml"), []byte("provider: external\nnodes: [ r1, r2 ]\n"), 0o644),
		os.WriteFile(filepath.Join(work, "output"), []byte("[INFO] nothing was to be done\n"), 0o600),
	)
}

func (l *leastFiles) end(job string, end []byte) error {
	if l == nil {
		return nil
	}
	return errors.Join(
		writeSynced(filepath.Join(l.dir, "ends"), job, end),
		os.Remove(filepath.Join(l.dir, "requests", job)),
		os.Remove(filepath.Join(l.dir, "labs", job, "output")),
	)
}

// writeSynced makes a file that is there, and whole, after a power cut too.
func writeSynced(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
