package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/view"
)

// getEvents tells of all jobs that the filter matches, as Server-Sent Events, for as long as the client stays.
func (s *Server) getEvents(c *fiber.Ctx) error {
	filter, err := filterQuery(c)
	if err != nil {
		return err
	}
	last, err := lastEvent(c)
	if err != nil {
		return err
	}
	if err := s.caughtUp(); err != nil {
		return err
	}
	return s.streamEvents(c, s.follow(filter, "", last))
}

// getJobEvents tells of one job, up to its terminal state. A client that knows that state already, and comes again as browsers
// do, is told to stay away by 204.
func (s *Server) getJobEvents(c *fiber.Ctx) error {
	last, err := lastEvent(c)
	if err != nil {
		return err
	}
	job, err := s.shown(s.jobID(c))
	if err != nil {
		return err
	}
	follower := s.follow(view.Filter{}, job.ID, last)
	if follower.Over() {
		return c.SendStatus(http.StatusNoContent)
	}
	return s.streamEvents(c, follower)
}

func (s *Server) streamEvents(c *fiber.Ctx, f *view.Follower) error {
	if c.Method() == fiber.MethodHead {
		c.Set(fiber.HeaderContentType, logEvents.contentType())
		return nil
	}
	return s.stream(c, logEvents, -1, s.counted(c, &jobEvents{follower: f, conn: connOf(c), running: s.running, heartbeat: s.config.Heartbeat}))
}

// lastEvent is up to where the client says that it knows everything; nil: it says nothing.
func lastEvent(c *fiber.Ctx) (*view.EventID, error) {
	// A browser that connects again asks for the same URL, with the parameter of its first request.
	field, text := "Last-Event-ID", c.Get("Last-Event-ID")
	if text == "" {
		field, text = "lastEventId", c.Query("lastEventId")
	}
	if text == "" {
		return nil, nil
	}
	last, ok := view.ParseEventID(text)
	if !ok {
		return nil, invalid(field, "%q is no id: use that of the last event that came", shown(text))
	}
	return &last, nil
}

// follow follows for a client that knows everything up to last. What no bus of ours can have told it, it does not know.
func (s *Server) follow(filter view.Filter, id string, last *view.EventID) *view.Follower {
	if last != nil && last.Seq > s.config.View.EventsUpTo() {
		// Another API may be a moment ahead. But the ids of a bus that was made anew are lower, and to wait for this one could
		// take for ever.
		ctx, cancel := context.WithTimeout(s.running, busTimeout)
		defer cancel()
		newest, err := s.config.Bus.JobsSequence(ctx)
		switch {
		case err != nil:
			// Nobody can tell, and browsers never come back after an answer that is an error.
			return s.config.View.FollowOnTrust(filter, id, last)
		case last.Seq > newest:
			last = &view.EventID{}
		}
	}
	return s.config.View.Follow(filter, id, last)
}

// jobEvents is the stream of a follower's events.
type jobEvents struct {
	follower  *view.Follower
	conn      *conn
	running   context.Context
	heartbeat time.Duration

	events []view.Event
	ready  []byte // made and not read yet
	// sent is the last id that the client was sent.
	sent  view.EventID
	ended bool
}

// await makes the next event. The stream ends after the terminal state of the one job, and when the server shuts down.
func (j *jobEvents) await() error {
	for len(j.ready) == 0 {
		if j.ended {
			return io.EOF
		}
		switch err := j.next(); {
		case errors.Is(err, errStopping):
			return io.EOF
		case err != nil:
			return err
		}
	}
	return nil
}

// Read is as of any source.
func (j *jobEvents) Read(p []byte) (n int, err error) {
	if err := j.await(); err != nil {
		return 0, err
	}
	n, j.ready = takeReady(p, j.ready)
	return n, nil
}

// next makes the next event, or what else the client is sent.
func (j *jobEvents) next() error {
	if len(j.events) == 0 {
		ctx, cancel := context.WithTimeoutCause(j.running, j.heartbeat, errIdle)
		defer cancel()
		var err error
		j.events, err = j.follower.Next(ctx)
		if errors.Is(err, errIdle) && j.conn != nil && j.conn.gone() {
			err = errGone
		}
		switch {
		case errors.Is(err, errIdle), err == nil && len(j.events) == 0:
			j.ended = j.follower.Over() // where another API was ahead, the client knew before this one did
			j.beat()
			return nil
		case err != nil:
			return err
		}
	}
	event := j.events[0]
	j.events = j.events[1:]
	text, err := encode(event.Job) // one line, with its end
	if err != nil {
		return err
	}
	j.sent = event.ID
	j.ready = fmt.Appendf(nil, "event: job\nid: %s\ndata: %s\n", event.ID, text)
	j.ended = j.follower.One() && event.Job.State.Terminal()
	return nil
}

// beat shows the client that the stream is alive, and where it stands: it may have passed over events that the client does
// not want. An id alone is no event, but the client comes again with it.
func (j *jobEvents) beat() {
	if after := j.follower.After(); after.Seq > 0 && after != j.sent {
		j.sent = after
		j.ready = fmt.Appendf(nil, "id: %s\n\n", after)
		return
	}
	j.ready = []byte(":\n\n")
}
