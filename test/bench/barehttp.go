package main

import (
	"context"
	"encoding/json"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// roleBarePost is a handler that publishes the body it reads, with the check that the id is new, and answers with the id.
func roleBarePost(ctx context.Context, config json.RawMessage, t *talk) error {
	var in leastConfig
	if err := json.Unmarshal(config, &in); err != nil {
		return err
	}
	bare, err := startBareServer(ctx, in.Dir, false)
	if err != nil {
		return err
	}
	defer bare.stop()
	app := newFiber()
	app.Post("/jobs", func(c *fiber.Ctx) error {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		m := nats.NewMsg("bare.bench." + id.String() + ".request")
		m.Data = c.Body()
		check := jetstream.WithExpectLastSequenceForSubject(0, "bare.*."+id.String()+".request")
		if _, err := bare.js.PublishMsg(ctx, m, check); err != nil {
			return err
		}
		return c.Status(fiber.StatusAccepted).JSON(fiber.Map{"id": id.String()})
	})
	return serveFiber(ctx, app, t)
}

// roleBareGet is a handler that sends the same bytes whatever it is asked.
func roleBareGet(ctx context.Context, config json.RawMessage, t *talk) error {
	var body []byte
	if err := json.Unmarshal(config, &body); err != nil {
		return err
	}
	app := newFiber()
	app.Get("/jobs/:id", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
		return c.Send(body)
	})
	return serveFiber(ctx, app, t)
}

func newFiber() *fiber.App { return fiber.New(fiber.Config{DisableStartupMessage: true}) }

// serveFiber serves on a free port of loopback until ctx ends.
func serveFiber(ctx context.Context, app *fiber.App, t *talk) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(l) }()
	if err := t.ready(facts{"address": l.Addr().String()}); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	if err := app.ShutdownWithTimeout(5 * time.Second); err != nil {
		return err
	}
	return <-served
}
