package api

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// lab is one lab of the fleet.
type lab struct {
	Host     string `json:"host"`
	Instance string `json:"instance"`
	Dir      string `json:"dir"`
	User     string `json:"user"`
	// Status is Netlab's own; empty where it has none.
	Status string `json:"status"`
	// Job is the last one that started the lab, null where none did.
	Job *string `json:"job"`
}

// labsReply is what a host answers.
type labsReply struct {
	Labs []lab `json:"labs"`
}

// hostError is a host that did not answer.
type hostError struct {
	Host  string `json:"host"`
	Error string `json:"error"`
}

// getLabs lists every lab of the fleet, those that were started by hand too. A host that does not answer is named beside them.
func (s *Server) getLabs(c *fiber.Ctx) error {
	if err := s.caughtUp(); err != nil {
		return err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		labs    = []lab{}
		errored = []hostError{}
	)
	for _, host := range s.config.View.Hosts() {
		wg.Go(func() {
			var reply labsReply
			err := s.ask(host.Name, "labs", s.config.HostTimeout, json.RawMessage("{}"), &reply)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errored = append(errored, hostError{Host: host.Name, Error: err.Error()})
			}
			for _, l := range reply.Labs {
				l.Host = host.Name
				labs = append(labs, l)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(labs, func(a, b lab) int {
		return strings.Compare(a.Host+"\x00"+a.Dir+"\x00"+a.Instance, b.Host+"\x00"+b.Dir+"\x00"+b.Instance)
	})
	slices.SortFunc(errored, func(a, b hostError) int { return strings.Compare(a.Host, b.Host) })
	return c.JSON(map[string]any{"labs": labs, "errors": errored})
}
