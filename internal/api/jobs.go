package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/dispatch"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// busTimeout bounds what a request waits for the bus.
const busTimeout = 5 * time.Second

// objectTimeout is busTimeout for a job with what does not fit into a message: tens of megabytes in pieces.
const objectTimeout = 30 * time.Second

// postJob makes a job of the body.
func (s *Server) postJob(c *fiber.Ctx) error {
	key, err := s.idempotencyKey(c)
	if err != nil {
		return err
	}
	payload, err := s.payload(c)
	if err != nil {
		return err
	}
	if err := s.caughtUp(); err != nil {
		return err
	}
	timeout := busTimeout
	if len(payload.Bundle)+len(payload.Topology) > bus.MaxMessage {
		timeout = objectTimeout
	}
	ctx, cancel := s.changing(timeout)
	defer cancel()
	job, replayed, err := s.submit(ctx, payload, key)
	if err != nil {
		return err
	}
	if replayed {
		c.Set(headerReplayed, "true")
	}
	c.Location(s.config.Prefix + "/jobs/" + job.ID)
	return c.Status(http.StatusAccepted).JSON(job)
}

// changing is the context of what makes a job or cancels one. It goes on for busTimeout at most when the server shuts down: what was sent
// to the bus may be stored, and its client is to hear of it.
func (s *Server) changing(timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.running), timeout)
	ends := context.AfterFunc(s.running, func() {
		select {
		case <-time.After(busTimeout):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { ends(); cancel() }
}

// submit makes the job once, where the client has named its request with a key.
func (s *Server) submit(ctx context.Context, payload *jobs.Payload, key *dispatch.Key) (job jobs.Job, replayed bool, err error) {
	if key != nil {
		return s.config.Dispatcher.SubmitOnce(ctx, payload, key)
	}
	job, err = s.config.Dispatcher.Submit(ctx, payload)
	return job, false, err
}

// payload reads a job from the body: the JSON itself, or a multipart body with a bundle beside it. Beyond that a content type
// means nothing: clients send any.
func (s *Server) payload(c *fiber.Ctx) (*jobs.Payload, error) {
	body, err := plainBody(c)
	if err != nil {
		return nil, err
	}
	if isMultipart(c.Get(fiber.HeaderContentType)) {
		return s.multipartJob(c)
	}
	return jobs.ParsePayload(body)
}

// getJob shows a job.
func (s *Server) getJob(c *fiber.Ctx) error {
	job, err := s.shown(s.jobID(c))
	if err != nil {
		return err
	}
	text, err := job.JSON()
	if err != nil {
		return err
	}
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Send(text)
}

// shown finds a job for a client.
func (s *Server) shown(id string) (view.Shown, error) {
	if err := s.caughtUp(); err != nil {
		return view.Shown{}, err
	}
	if job, ok := s.config.View.Look(id); ok {
		return job, nil
	}
	ctx, cancel := context.WithTimeout(s.running, busTimeout)
	defer cancel()
	job, err := s.config.View.Show(ctx, id)
	if errors.Is(err, view.ErrUnknown) {
		return view.Shown{}, noSuchJob(id)
	}
	return job, err
}

// job finds a job for a client, and with it what was asked for.
func (s *Server) job(id string) (jobs.Job, error) {
	job, err := s.shown(id)
	if err != nil {
		return jobs.Job{}, err
	}
	return job.Job(), nil
}

func noSuchJob(id string) error {
	return failed(http.StatusNotFound, "Job %s not found", shown(id))
}

// jobID is the id in the path of a request below /jobs. The path is a copy of ours already, of which Fiber's Params makes two more: that is
// 4 % of what it costs to show a job.
func (s *Server) jobID(c *fiber.Ctx) string {
	below := strings.TrimPrefix(strings.TrimPrefix(c.Path(), s.config.Prefix), "/jobs/")
	id, _, _ := strings.Cut(below, "/")
	return decoded(id)
}

// decoded is a part of a path without its %XX. What cannot be decoded stays as it is: no job and no lab is called so.
func decoded(raw string) string {
	text, err := url.PathUnescape(raw)
	if err != nil {
		return raw
	}
	return text
}

// shown is what a client sent, short enough for the text of an error.
func shown(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
