package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

// maxPage is the number of jobs of the largest page, and of a list without limit and cursor.
const maxPage = 1000

// getJobs lists jobs: page by page, newest first; without limit and cursor the newest 1,000, oldest first, as `netlab api`
// lists them.
func (s *Server) getJobs(c *fiber.Ctx) error {
	q, err := listQuery(c)
	if err != nil {
		return err
	}
	if err := s.caughtUp(); err != nil {
		return err
	}
	page, next, err := s.config.View.Page(q.filter, q.limit, q.cursor)
	if err != nil {
		return err
	}
	answer := struct {
		Jobs []jobs.Job `json:"jobs"`
		Next *string    `json:"next"`
	}{Jobs: page}
	switch {
	case !q.paged:
		slices.Reverse(page)
	case next != "":
		answer.Next = &next
	}
	return c.JSON(answer)
}

type list struct {
	filter view.Filter
	limit  int
	cursor string
	// paged is a client that asks for pages.
	paged bool
}

// listQuery reads the parameters of the list. Its error names all that are wrong.
func listQuery(c *fiber.Ctx) (list, error) {
	var faults []jobs.Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, jobs.Fault{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	q := list{
		filter: view.Filter{
			State:      jobs.State(c.Query("state")),
			Action:     jobs.Action(c.Query("action")),
			User:       c.Query("user"),
			Workspace:  c.Query("workspace", c.Query("project")),
			Deployment: c.Query("deployment"),
			Host:       c.Query("host"),
		},
		limit:  maxPage,
		cursor: c.Query("cursor"),
	}
	if state := q.filter.State; state != "" && !slices.Contains(jobs.States, state) {
		fault("state", "%q is none: use %s", shown(string(state)), words(jobs.States))
	}
	if action := q.filter.Action; action != "" && !slices.Contains(jobs.Actions, action) {
		fault("action", "%q is none: use %s", shown(string(action)), words(jobs.Actions))
	}
	if text := c.Query("limit"); text != "" {
		var err error
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxPage {
			fault("limit", "%q is out of range: use 1 to %d", shown(text), maxPage)
		}
		q.paged = true
	}
	q.paged = q.paged || q.cursor != ""
	if len(faults) > 0 {
		return q, &jobs.Invalid{Faults: faults}
	}
	return q, nil
}

// words joins the values that a parameter may have.
func words[T ~string](values []T) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = string(v)
	}
	return strings.Join(text, ", ")
}
