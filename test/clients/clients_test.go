package clients_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/test/clients"
)

// played is a service whose job shows these logs one after the other and then has ended. A log "!" is an answer 503.
func played(t *testing.T, logs ...string) clients.Server {
	t.Helper()
	var looks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Values("Accept") != nil {
			t.Errorf("%s %s with Accept %q", r.Method, r.URL, r.Header.Values("Accept"))
		}
		n := min(int(looks.Load()), len(logs)-1)
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"id":"one","state":"queued","error":null}`))
		case strings.HasSuffix(r.URL.Path, "/log"):
			looks.Add(1)
			if logs[n] == "!" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(`{"log":"` + logs[n] + `"}`))
		case n == len(logs)-1:
			_, _ = w.Write([]byte(`{"id":"one","status":"success","error":null}`))
		default:
			_, _ = w.Write([]byte(`{"id":"one","state":"running"}`))
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { go server.Close() }) // which waits for connections that nobody uses again
	return clients.Server{URL: server.URL, Token: "x"}
}

func TestTaskAndScriptLookAtTheLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		logs           []string
		task, script   string // what their errors say
		log            string
		missed, looked int
	}{
		"grows":        {[]string{"", "a", "ab", "abc"}, "", "", "abc", 0, 4},
		"shrinks":      {[]string{"abc", "ab", "abc"}, "has shrunk from 3 to 2 bytes", "has shrunk", "abc", 0, 2},
		"changes":      {[]string{"abc", "aXcd", "abc"}, "the first 3 bytes of the log have changed", "have changed", "abc", 0, 2},
		"an error":     {[]string{"a", "!", "ab"}, "", "503", "ab", 1, 3},
		"ends at once": {[]string{"a"}, "", "", "a", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says := func(err error, want string) {
				t.Helper()
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			task := &clients.Task{Server: played(t, test.logs...)}
			o, err := task.Run(t.Context(), map[string]any{})
			says(err, test.task)
			if o.Log != test.log || len(o.Missed) != test.missed || o.Looks != test.looked {
				t.Errorf("%+v", o)
			}
			_, err = (&clients.Script{Server: played(t, test.logs...)}).Run(t.Context(), map[string]any{})
			says(err, test.script)
		})
	}
}

func TestTaskReadsTheTableByPosition(t *testing.T) {
	t.Parallel()
	c := &clients.Task{Server: played(t, `netlab-worker: │ no row │\n┌──┐\n│ node │ device │ provider │ status │ image │ mgmt IPv4 │ mgmt IPv6 │\n`+
		`│ r1 │ frr │ clab │ Up │ frr:1 │ 192.0.2.1 │ │\n│ r2 │ frr │ clab │ │ frr:1 │ — │ │\n│ r3 │ frr │ clab │ │ frr:1 │ │ │\n│ id │ x │\n`)}
	got, err := c.Nodes(t.Context(), "/lab")
	if diff := cmp.Diff([]clients.Node{{"r1", "frr", "clab", "Up", "frr:1", "192.0.2.1"}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// The table of promises names tests that are there.
func TestEveryPromiseHasItsTest(t *testing.T) {
	t.Parallel()
	var there []string
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "bin"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		content, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(content, -1) {
			there = append(there, string(m[1]))
		}
		return err
	})
	table, readErr := os.ReadFile("README.md")
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(table), -1)
	for _, m := range named {
		if !slices.Contains(there, m[1]) {
			t.Errorf("README.md names %s, which is no test", m[1])
		}
	}
	if len(named) < 50 {
		t.Errorf("README.md names %d tests only", len(named))
	}
}
