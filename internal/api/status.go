package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
)

// noLabs is what Netlab says of a host without labs.
const noLabs = "No netlab-managed labs"

// statusQuestion is what a host is asked at its endpoint "status".
type statusQuestion struct {
	// Instance is the id of a lab; empty: every lab.
	Instance string `json:"instance"`
	// Text asks for Netlab's table instead of JSON.
	Text bool `json:"text"`
}

// statusReply is what it answers.
type statusReply struct {
	// Found is false where there is no such lab, or none at all.
	Found bool `json:"found"`
	// Labs is what `netlab status --format json` prints.
	Labs json.RawMessage `json:"labs"`
	// Text is the table.
	Text string `json:"text"`
}

// body is the answer of `netlab api` to the same question.
func (r *statusReply) body(text bool) any {
	switch {
	case text:
		return map[string]string{"status": r.Text}
	case len(r.Labs) == 0:
		return struct{}{}
	default:
		return r.Labs
	}
}

// getStatus shows the labs of one host, or of every host where none is named and there is no default.
func (s *Server) getStatus(c *fiber.Ctx) error {
	text, err := s.wantsText(c)
	if err != nil {
		return err
	}
	host, err := s.hostOf(c)
	if err != nil {
		return err
	}
	if host == "" {
		return s.fleetStatus(c, text)
	}
	reply, err := s.statusOf(host, askTimeout, statusQuestion{Text: text})
	switch {
	case err != nil:
		return hostAway(err)
	case reply.Found:
		return c.JSON(reply.body(text))
	case text:
		return c.Status(http.StatusNotFound).JSON(map[string]string{"status": noLabs + "\n"})
	default:
		return c.Status(http.StatusNotFound).JSON(map[string]string{"warning": noLabs})
	}
}

// getInstance shows one lab of one host.
func (s *Server) getInstance(c *fiber.Ctx) error {
	text, err := s.wantsText(c)
	if err != nil {
		return err
	}
	host, err := s.oneHostOf(c)
	if err != nil {
		return err
	}
	instance := decoded(c.Params("instance"))
	var reply statusReply
	if plausible(instance) {
		if reply, err = s.statusOf(host, askTimeout, statusQuestion{Instance: instance, Text: text}); err != nil {
			return hostAway(err)
		}
	}
	if !reply.Found {
		return failed(http.StatusNotFound, "Unknown lab instance %s", shown(instance))
	}
	return c.JSON(reply.body(text))
}

// fleetStatus asks every host at once. A host that does not answer is an entry with an error.
func (s *Server) fleetStatus(c *fiber.Ctx, text bool) error {
	if err := s.caughtUp(); err != nil {
		return err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		entries = map[string]any{}
	)
	for _, host := range s.config.View.Hosts() {
		wg.Go(func() {
			entry := s.hostEntry(host.Name, text)
			mu.Lock()
			defer mu.Unlock()
			entries[host.Name] = entry
		})
	}
	wg.Wait()
	return c.JSON(map[string]any{"hosts": entries})
}

func (s *Server) hostEntry(host string, text bool) any {
	reply, err := s.statusOf(host, s.config.HostTimeout, statusQuestion{Text: text})
	switch {
	case err != nil:
		return map[string]string{"error": err.Error()}
	case text && !reply.Found:
		return map[string]string{"status": noLabs + "\n"}
	case text:
		return reply.body(true)
	case !reply.Found:
		return map[string]any{"labs": struct{}{}}
	default:
		return map[string]any{"labs": reply.body(false)}
	}
}

func (s *Server) statusOf(host string, timeout time.Duration, q statusQuestion) (reply statusReply, err error) {
	err = s.ask(host, "status", timeout, q, &reply)
	return reply, err
}

// hostAway makes an answer of a host's own error: its Netlab is what has the answer, and is away.
func hostAway(err error) error {
	var refused *bus.HostError
	if errors.As(err, &refused) {
		return failed(http.StatusServiceUnavailable, "%s", refused.Error())
	}
	return err
}

func (s *Server) wantsText(c *fiber.Ctx) (bool, error) {
	switch output := c.Query("output", s.config.StatusOutput); output {
	case formText:
		return true, nil
	case formJSON:
		return false, nil
	default:
		return false, invalid("output", "%q is none: use json or text", shown(output))
	}
}

// plausible says whether a lab can be called so. What a host is asked ends up as an argument of Netlab's.
func plausible(instance string) bool {
	const longest = 255
	return instance != "" && len(instance) <= longest && utf8.ValidString(instance) &&
		!strings.HasPrefix(instance, "-") && !strings.ContainsFunc(instance, unicode.IsControl)
}
