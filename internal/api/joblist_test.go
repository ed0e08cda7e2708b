package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

type listed struct {
	Jobs []jobs.Job
	Next *string
}

func (l listed) ids() []string {
	ids := []string{}
	for _, j := range l.Jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.is(b.get("/jobs"), http.StatusOK, `{"jobs":[],"next":null}`)
	b.online(hostNamed("a"))
	var born []string
	for i := range 7 {
		p := b.submit(fmt.Sprintf(`{"action":"create","user":"u%d","workspaceRoot":"/home/lab","workspace":"w%d","deployment":"d%d"}`, i%2, i%3, i))
		born = append(born, p.ID)
		if i == 0 {
			p.move(jobs.Start)
			p.shown()
		}
	}
	newest := slices.Clone(born)
	slices.Reverse(newest)

	all := decode[listed](t, b.get("/jobs").body)
	if diff := cmp.Diff(born, all.ids()); diff != "" || all.Next != nil {
		t.Errorf("without parameters: %s, next %v", diff, all.Next)
	}
	for size := 1; size <= 8; size++ {
		var paged []string
		for cursor, pages := "", 0; ; pages++ {
			page := decode[listed](t, b.get(fmt.Sprintf("/jobs?limit=%d&cursor=%s", size, cursor)).body)
			paged = append(paged, page.ids()...)
			if page.Next == nil {
				break
			}
			if len(page.Jobs) != size || pages > 8 {
				t.Fatalf("page of %d jobs, %d asked for", len(page.Jobs), size)
			}
			cursor = *page.Next
		}
		if diff := cmp.Diff(newest, paged); diff != "" {
			t.Errorf("in pages of %d: %s", size, diff)
		}
	}
	first := decode[listed](t, b.get("/jobs?limit=3").body)
	if diff := cmp.Diff(newest[3:], decode[listed](t, b.get("/jobs?cursor="+*first.Next).body).ids()); diff != "" {
		t.Errorf("a cursor alone: %s", diff)
	}

	for query, want := range map[string][]string{
		"user=u1":                      {born[1], born[3], born[5]},
		"workspace=w2":                 {born[2], born[5]},
		"project=w2":                   {born[2], born[5]},
		"workspace=w2&user=u1":         {born[5]},
		"workspace=w2&user=":           {born[2], born[5]},
		"deployment=d4":                {born[4]},
		"state=running":                {born[0]},
		"state=success":                {},
		"action=create&deployment=d6":  {born[6]},
		"action=up":                    {},
		"host=a&deployment=d6&other=1": {born[6]},
		"host=b":                       {},
		"user=%ff":                     {},
	} {
		if diff := cmp.Diff(want, decode[listed](t, b.get("/jobs?"+query).body).ids()); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

// A list of jobs that are as large as can be ends before, and goes on behind its cursor.
func TestListOfLargeJobs(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	const size, count = 440 << 10, 24
	large := strings.Repeat("<", size)
	var born []string
	for n := range count {
		id := fmt.Sprintf("j%02d", n)
		born = append(born, id)
		b.view.Add(&bus.Birth{Job: jobs.Job{
			ID: id, Action: jobs.Create, State: jobs.Queued, Host: "a", Error: &large, Warnings: []string{},
			Request: jobs.Request{Action: jobs.Create},
		}}, uint64(n+1))
	}
	slices.Reverse(born)
	fits := maxPageBytes / size
	list := decode[listed](t, b.get("/jobs").body)
	newest := list.ids()
	slices.Reverse(newest)
	if list.Next == nil {
		t.Fatal("nothing says that the list ends before")
	}
	rest := decode[listed](t, b.get("/jobs?cursor="+*list.Next).body).ids()
	if diff := cmp.Diff(born[len(newest):], rest); diff != "" {
		t.Errorf("behind the list: %s", diff)
	}
	if diff := cmp.Diff(born[:len(newest)], newest); diff != "" || len(newest) < fits-1 || len(newest) > fits {
		t.Errorf("%d of %d jobs: %s", len(newest), count, diff)
	}
	var paged []string
	for cursor, pages := "", 0; ; pages++ {
		page := decode[listed](t, b.get("/jobs?limit=1000&cursor="+cursor).body)
		if paged = append(paged, page.ids()...); page.Next == nil {
			break
		}
		if cursor = *page.Next; pages > 2 {
			t.Fatalf("%d pages", pages)
		}
	}
	if diff := cmp.Diff(born, paged); diff != "" {
		t.Error(diff)
	}
}

func TestListNamesEveryFault(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.isError(b.get("/jobs?state=done&action=fly&limit=0"), http.StatusBadRequest,
		`state: "done" is none: use queued, running, success, failed, canceled`, `; action: "fly" is none: use up, create,`, `; limit: "0" is out of range: use 1 to 1000`)
	for _, limit := range []string{"1001", "-1", "x", "1.5", "99999999999999999999"} {
		b.isError(b.get("/jobs?limit="+limit), http.StatusBadRequest, "limit: ", "use 1 to 1000")
	}
	for _, query := range []string{"user=a&user=b", "limit=1&limit=2", "cursor=a&cursor=b", "state=queued&state=", "project=a&project=b", "workspace=a&project=b"} {
		name, _, _ := strings.Cut(query, "=")
		if name == "workspace" {
			name = "project"
		}
		b.isError(b.get("/jobs?"+query), http.StatusBadRequest, name+": ")
	}
	b.is(b.get("/jobs?user=a&user=a&workspace=b&project=b&limit=&page=7&%ff"), http.StatusOK, `{"jobs":[],"next":null}`)
	for _, cursor := range []string{"x", "%00", "LTE", "MQ=="} {
		b.isError(b.get("/jobs?cursor="+cursor), http.StatusBadRequest, "cursor: ")
	}
}
