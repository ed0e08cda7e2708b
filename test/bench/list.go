package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"netlab-runner/internal/jobs"
)

// measureList measures how long a page of the list of jobs takes where there are many jobs and where there are few, with filters
// that most of the jobs match and with filters that only the rare ones match. All pages have as many jobs.
func measureList(ctx context.Context, b *bench) (rows []row, err error) {
	count, n := b.amount(100_000, 200), b.amount(2000, 28)
	many, err := b.startFilledSystem(ctx, count)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, many.end()) }()
	few, err := b.startFilledSystem(ctx, 2*rareJobs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, few.end()) }()

	var sides []side
	for _, of := range []struct {
		name   string
		system *system
	}{{"many", many}, {"few", few}} {
		for _, value := range []string{"usual", "rare"} {
			l := &lister{system: of.system, paths: listPaths(value)}
			if err := l.first(ctx, value); err != nil {
				return nil, err
			}
			sides = append(sides, side{of.name + " " + value, func(ctx context.Context) (sample, error) { return l.list(ctx, n) }})
		}
	}
	r, err := b.inTurns(ctx, "list", sides...)
	if err != nil {
		return nil, err
	}
	for _, of := range []struct{ value, match string }{{"usual", "most"}, {"rare", strconv.Itoa(rareJobs)}} {
		beside := fmt.Sprintf("the same with %d jobs", 2*rareJobs)
		rows = append(rows,
			row{
				fmt.Sprintf("GET /jobs?…&limit=%d, filters that %s match, of %d jobs", rareJobs, of.match, count), "µs/request", less,
				r.of("many "+of.value, "time"), r.of("few "+of.value, "time"), beside,
			},
			row{"  processor time of the server", "µs/request", less, r.of("many "+of.value, "cpu"), r.of("few "+of.value, "cpu"), beside},
		)
	}
	return rows, nil
}

// startFilledSystem starts an API with so many jobs that have ended.
func (b *bench) startFilledSystem(ctx context.Context, count int) (*system, error) {
	s, err := b.startSystem(ctx, roomForMany())
	if err != nil {
		return nil, err
	}
	newest, err := fill(ctx, s.api.facts["bus"], s.api.facts["creds"], count, nil)
	if err == nil {
		err = s.awaitNewest(ctx, newest)
	}
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// listPaths are lists with every filter that there is, alone and together, for the jobs with the value.
func listPaths(value string) []string {
	state, action := jobs.Success, jobs.Create
	if value == "rare" {
		state, action = jobs.Failed, jobs.Collect
	}
	filters := []string{
		"state=" + string(state), "action=" + string(action), "user=" + value, "workspace=" + value, "deployment=" + value,
		"host=" + value,
	}
	filters = append(filters, strings.Join(filters, "&"))
	for i := range filters {
		filters[i] = "/jobs?" + filters[i] + "&limit=" + strconv.Itoa(rareJobs)
	}
	return filters
}

// lister asks for lists, one path after the other.
type lister struct {
	system  *system
	paths   []string
	answers [][]byte // to each path
}

// first asks for each list once, and checks it.
func (l *lister) first(ctx context.Context, value string) error {
	for _, path := range l.paths {
		var answer json.RawMessage
		if err := l.system.get(ctx, path, &answer); err != nil {
			return err
		}
		var list struct {
			Jobs []jobs.Job `json:"jobs"`
		}
		if err := json.Unmarshal(answer, &list); err != nil {
			return err
		}
		for _, job := range list.Jobs {
			if job.User != value || !job.State.Terminal() {
				return fmt.Errorf("%s: job %s of user %s is %s", path, job.ID, job.User, job.State)
			}
		}
		if len(list.Jobs) != rareJobs {
			return fmt.Errorf("%s: %d jobs, want %d", path, len(list.Jobs), rareJobs)
		}
		l.answers = append(l.answers, bytes.TrimSpace(answer))
	}
	return nil
}

// list asks so often, and measures how long a request takes the server that has one after the other.
func (l *lister) list(ctx context.Context, n int) (sample, error) {
	clients := newLoad(l.system.api.facts["address"])
	defer clients.close()
	one := get(func(i int) string { return l.paths[i%len(l.paths)] })
	same := func(i int, body []byte) error {
		if !bytes.Equal(bytes.TrimSpace(body), l.answers[i%len(l.paths)]) {
			return fmt.Errorf("%s: another answer than the first one", l.paths[i%len(l.paths)])
		}
		return nil
	}
	if _, err := clients.run(ctx, n/10, http.StatusOK, one, same); err != nil {
		return nil, err
	}
	got, err := costOf(n, func() (time.Duration, error) { return clients.run(ctx, n, http.StatusOK, one, same) }, l.system.api)
	if err != nil {
		return nil, err
	}
	got["time"] = 1e6 / got["rate"]
	return got, nil
}
