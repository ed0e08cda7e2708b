package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// labTimeout bounds a question about a lab, from the request to the answer: its clients wait for 15 s. The host gives up
// before.
const labTimeout = 14500 * time.Millisecond

// connectAnswer is what the host says of POST /connect. Error says why the exit code of the show command is not 0.
type connectAnswer struct {
	Log      string `json:"log"`
	ExitCode int    `json:"exitCode"`
	Error    string `json:"error,omitempty"`
}

// postConnect runs a show command on a node of a running lab.
func (s *Server) postConnect(c *fiber.Ctx) error {
	body, err := plainBody(c)
	if err != nil {
		return err
	}
	q, err := jobs.ParseConnect(body)
	if err != nil {
		return err
	}
	var answer connectAnswer
	if err := s.askLab(&q.Lab, "connect", q, &answer); err != nil {
		return err
	}
	return c.JSON(&answer)
}

// askLab puts a question about a lab to the lab's host and reads the answer, which may be why there is none.
func (s *Server) askLab(lab *jobs.Lab, endpoint string, question, answer any) error {
	ctx, cancel := context.WithTimeout(s.running, labTimeout)
	defer cancel()
	host, err := s.labHost(ctx, lab)
	if err != nil {
		return err
	}
	data, err := s.config.Bus.Ask(ctx, host, endpoint, question)
	if err != nil {
		return hostAway(err)
	}
	var none struct {
		Status int
		Error  string
	}
	err = json.Unmarshal(data, &none)
	switch {
	case err != nil:
	case none.Status == 0:
		err = json.Unmarshal(data, answer)
	case slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable}, none.Status):
		return failed(none.Status, "%s", none.Error)
	default:
		err = fmt.Errorf("it has the status %d", none.Status)
	}
	if err != nil {
		return failed(http.StatusServiceUnavailable, "host %s: its answer cannot be read: %v", host, err)
	}
	return nil
}

// labHost finds the host of a lab: the one that the question names, else the one that has its directory, else the default one,
// else the only one.
func (s *Server) labHost(ctx context.Context, lab *jobs.Lab) (string, error) {
	if err := s.caughtUp(); err != nil {
		return "", err
	}
	name := lab.Host
	if name == "" && lab.Workdir != "" {
		placed, err := s.config.Bus.PlaceOf(ctx, lab.Workdir)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return "", err
		}
		name = placed
	}
	if name == "" {
		name = s.config.DefaultHost
	}
	if name == "" {
		known := s.config.View.Hosts()
		if len(known) != 1 {
			return "", invalid("host", "is missing: name the host of the lab; GET %s/hosts lists them", s.config.Prefix)
		}
		name = known[0].Name
	}
	host, ok := s.config.View.Host(name)
	switch {
	case !ok && lab.Host != "":
		return "", invalid("host", "no host %q is known; GET %s/hosts lists them", shown(name), s.config.Prefix)
	case !ok:
		return "", failed(http.StatusServiceUnavailable, "host %s is not known: start its worker, or name another host in host", name)
	}
	return name, lab.Place(host)
}
