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
// that most of the jobs match, with filters that only the rare ones match, and with two of which half of the jobs match each, and few both.
// All pages have as many jobs.
func measureList(ctx context.Context, b *bench) (rows []row, err error) {
	count, n := b.amount(100_000, 200), b.amount(20_000, 28)
	var sides []side
	for _, of := range []struct {
		name   string
		jobs   filling
		values []string
	}{
		{"many", filling{count: count}, []string{"usual", "rare"}},
		{"few", filling{count: 2 * rareJobs}, []string{"usual", "rare"}},
		{"many", filling{count: count, apart: true}, []string{apart}},
		{"few", filling{count: 2 * rareJobs, apart: true}, []string{apart}},
	} {
		s, failed := b.startFilledSystem(ctx, of.jobs)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, s.end()) }()
		for _, value := range of.values {
			l := &lister{system: s, paths: listPaths(value)}
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
	for _, of := range []struct{ value, match string }{
		{"usual", "most match"}, {"rare", strconv.Itoa(rareJobs) + " match"}, {apart, fmt.Sprintf("half match each and %d both", rareJobs)},
	} {
		beside := fmt.Sprintf("the same with %d jobs", 2*rareJobs)
		rows = append(rows,
			row{
				fmt.Sprintf("GET /jobs?…&limit=%d, filters that %s, of %d jobs", rareJobs, of.match, count), "µs/request", less,
				r.of("many "+of.value, "time"), r.of("few "+of.value, "time"), beside,
			},
			row{"  processor time of the server", "µs/request", less, r.of("many "+of.value, "cpu"), r.of("few "+of.value, "cpu"), beside},
		)
	}
	return rows, nil
}

// startFilledSystem starts an API with jobs that have ended.
func (b *bench) startFilledSystem(ctx context.Context, jobs filling) (*system, error) {
	s, err := b.startSystem(ctx, roomForMany())
	if err != nil {
		return nil, err
	}
	newest, err := fill(ctx, s.api.facts["bus"], s.api.facts["creds"], jobs)
	if err == nil {
		err = s.awaitNewest(ctx, newest)
	}
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// listPaths are lists with every filter that there is, alone and together, for the jobs with the value; of those whose values lie apart, with
// these together.
func listPaths(value string) []string {
	if value == apart {
		return []string{fmt.Sprintf("/jobs?user=%s&workspace=%s&limit=%d", apart, apart, rareJobs)}
	}
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
