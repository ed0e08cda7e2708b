package api

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/view"
)

const (
	// maxPage is the number of jobs of the largest page, and of a list without limit and cursor.
	maxPage = 1000
	// maxPageBytes is about where a page ends before: with jobs of the usual size it never does.
	maxPageBytes = 8 << 20
)

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
	var texts [][]byte
	cut := false
	for size := 0; len(texts) < len(page); {
		text, err := page[len(texts)].JSON()
		if err != nil {
			return err
		}
		if size += len(text); size > maxPageBytes {
			next, cut = page[len(texts)-1].Cursor(), true
			break
		}
		texts = append(texts, bytes.TrimSuffix(text, []byte("\n")))
	}
	end := []byte("null")
	if next != "" && (q.paged || cut) {
		end = strconv.AppendQuote(nil, next)
	}
	if !q.paged {
		slices.Reverse(texts)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(fmt.Appendf(nil, "{\"jobs\":[%s],\"next\":%s}\n", bytes.Join(texts, []byte(",")), end))
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
	p := parameters{Ctx: c}
	q := list{filter: p.filter(), limit: maxPage, cursor: p.Query("cursor")}
	if text := p.Query("limit"); text != "" {
		var err error
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxPage {
			p.fault("limit", "%q is out of range: use 1 to %d", shown(text), maxPage)
		}
		q.paged = true
	}
	q.paged = q.paged || q.cursor != ""
	return q, p.err()
}

// filterQuery reads the parameters that choose jobs.
func filterQuery(c *fiber.Ctx) (view.Filter, error) {
	p := parameters{Ctx: c}
	return p.filter(), p.err()
}

// parameters are those of a query, with what is wrong with them. A name that means nothing is passed over, as clients expect
// of servers that may be older than they are. An empty value is none.
type parameters struct {
	*fiber.Ctx
	faults []jobs.Fault
}

func (p *parameters) fault(field, format string, args ...any) {
	p.faults = append(p.faults, jobs.Fault{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (p *parameters) err() error {
	if len(p.faults) == 0 {
		return nil
	}
	return &jobs.Invalid{Faults: p.faults}
}

func (p *parameters) filter() view.Filter {
	f := view.Filter{
		State:      jobs.State(p.Query("state")),
		Action:     jobs.Action(p.Query("action")),
		User:       p.Query("user"),
		Workspace:  p.Query("workspace"),
		Deployment: p.Query("deployment"),
		Host:       p.Query("host"),
	}
	if f.State != "" && !slices.Contains(jobs.States, f.State) {
		p.fault("state", "%q is none: use %s", shown(string(f.State)), words(jobs.States))
	}
	if f.Action != "" && !slices.Contains(jobs.Actions, f.Action) {
		p.fault("action", "%q is none: use %s", shown(string(f.Action)), words(jobs.Actions))
	}
	// Another name of workspace, as in the body of a job.
	switch project := p.Query("project"); {
	case f.Workspace == "":
		f.Workspace = project
	case project != "" && project != f.Workspace:
		p.fault("project", "is another name of workspace and differs from it: send one of them")
	}
	return f
}

// words joins the values that a parameter may have.
func words[T ~string](values []T) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = string(v)
	}
	return strings.Join(text, ", ")
}
