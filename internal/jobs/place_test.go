package jobs_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	const outside = " is outside the roots of host h1 (/home, /srv/labs/, /srv/labs/team): choose a directory below one of them"
	const root = " is itself a root of host h1: choose a directory below it"
	h := hosts.Host{Name: "h1", Roots: []string{"/home", "/srv/labs/", "/srv/labs/team"}}
	for _, c := range []struct {
		name, body string
		want       string
		faults     []jobs.Fault
	}{
		{"workdir", `{"workdir":"/srv/labs/a","workspaceRoot":"/srv/labs","workspace":"w","deployment":"d"}`, "/srv/labs/a", nil},
		{"workspace and deployment", `{"workspaceRoot":"/srv/labs","workspace":"w","deployment":"d"}`, "/srv/labs/w/d", nil},
		{"of a user", `{"user":"lab","project":"w","deployment":"d"}`, "/home/lab/netlab/w/d", nil},
		{"workspaceRoot itself", `{"workspaceRoot":"/srv/labs/w"}`, "/srv/labs/w", nil},
		{"workspaceRoot before the user's", `{"workspaceRoot":"/srv/labs/w","user":"lab"}`, "/srv/labs/w", nil},
		{"a user alone", `{"user":"lab"}`, "/home/lab/netlab", nil},
		{"a workspace without a deployment", `{"user":"lab","workspace":"w"}`, "/home/lab/netlab", nil},
		{"stateRoot at a root", `{"workdir":"/home/lab","stateRoot":"/srv/labs"}`, "/home/lab", nil},
		{"stateRoot below one", `{"workdir":"/home/lab","stateRoot":"/home/lab/state"}`, "/home/lab", nil},

		{"outside", `{"workdir":"/etc/lab"}`, "", []jobs.Fault{{Field: "workdir", Text: `"/etc/lab"` + outside}}},
		{"above", `{"workdir":"/"}`, "", []jobs.Fault{{Field: "workdir", Text: `"/"` + outside}}},
		{"a name that begins like a root", `{"workdir":"/srv/labs2/a"}`, "", []jobs.Fault{{Field: "workdir", Text: `"/srv/labs2/a"` + outside}}},
		{"a root", `{"workdir":"/home/"}`, "", []jobs.Fault{{Field: "workdir", Text: `"/home"` + root}}},
		{"a root below another", `{"workdir":"/srv/labs/team"}`, "", []jobs.Fault{{Field: "workdir", Text: `"/srv/labs/team"` + root}}},
		{
			"a root as workspaceRoot alone", `{"workspaceRoot":"/srv/labs"}`, "",
			[]jobs.Fault{{Field: "workspaceRoot", Text: `"/srv/labs" is the working directory and` + root}},
		},
		{"workspaceRoot outside", `{"workspaceRoot":"/opt","workspace":"w","deployment":"d"}`, "", []jobs.Fault{{Field: "workspaceRoot", Text: `"/opt"` + outside}}},
		{"all outside", `{"workspaceRoot":"/opt","workdir":"/etc/x","stateRoot":"/var"}`, "", []jobs.Fault{
			{Field: "workspaceRoot", Text: `"/opt"` + outside},
			{Field: "workdir", Text: `"/etc/x"` + outside},
			{Field: "stateRoot", Text: `"/var"` + outside},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(t, c.body).Place(h)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var faults []jobs.Fault
			if invalid := (*jobs.Invalid)(nil); errors.As(err, &invalid) {
				faults = invalid.Faults
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" || (err == nil) != (c.faults == nil) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if dir, err := parse(t, `{"user":"lab"}`).Place(hosts.Host{Name: "h1", Roots: []string{"/srv"}}); err == nil {
		t.Errorf("a user's own place outside the roots: %s", dir)
	}
	if dir, err := parse(t, `{"workdir":"/anything/x"}`).Place(hosts.Host{Name: "h1", Roots: []string{"/"}}); err != nil || dir != "/anything/x" {
		t.Errorf("below /: %s, %v", dir, err)
	}
	if dir, err := parse(t, `{"workdir":"/"}`).Place(hosts.Host{Name: "h1", Roots: []string{"/"}}); err == nil {
		t.Errorf("/ itself: %s", dir)
	}
	if _, err := parse(t, `{"workdir":"/srv/x"}`).Place(hosts.Host{Name: "h1"}); err == nil {
		t.Error("a host without roots takes the job")
	}
}
