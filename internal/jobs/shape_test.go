package jobs_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

func TestNestingAndNumberOfValues(t *testing.T) {
	t.Parallel()
	nested := func(open, closed string, n int) string {
		return body(`"unheard":` + strings.Repeat(open, n) + "1" + strings.Repeat(closed, n))
	}
	for name, text := range map[string]string{
		"lists":                nested("[", "]", 31),
		"maps":                 nested(`{"a":`, "}", 31),
		"brackets in a string": body(`"unheard":"` + strings.Repeat(`[{\"\\`, 10_000) + `"`),
		"commas in a string":   body(`"unheard":"` + strings.Repeat(",", 200_000) + `"`),
		"many values":          body(`"unheard":[` + strings.Repeat("1,", 99_900) + "1]"),
	} {
		if _, err := jobs.ParsePayload([]byte(text)); err != nil {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	for name, c := range map[string]struct{ body, want string }{
		"lists":            {nested("[", "]", 32), "body: is nested more than 32 levels deep (at byte 67): use fewer"},
		"maps":             {nested(`{"a":`, "}", 32), "body: is nested more than 32 levels deep (at byte 191): use fewer"},
		"deep":             {nested("[", "]", 1_000_000), "body: is nested more than 32 levels deep"},
		"never closed":     {strings.Repeat("[", 4<<20), "body: is nested more than 32 levels deep"},
		"never closed map": {strings.Repeat(`{"a":`, 1<<20), "body: is nested more than 32 levels deep"},
		"after a string":   {`{"a\"[":"\\",` + strings.Repeat("[", 40), "body: is nested more than 32 levels deep"},
		"many values":      {body(`"unheard":[` + strings.Repeat("1,", 100_000) + "1]"), "body: has more than 100000 values: use fewer"},
		"many fields":      {body(strings.TrimSuffix(strings.Repeat(`"a":1,`, 1<<20), ",")), "body: has more than 100000 values"},
		"many in a field":  {body(`"environment":{` + strings.TrimSuffix(strings.Repeat(`"A":"b",`, 1<<19), ",") + "}"), "body: has more than 100000 values"},
	} {
		if _, err := jobs.ParsePayload([]byte(c.body)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// What is refused for its shape costs next to nothing, be it as large as a body may be.
//
//nolint:paralleltest // it counts what is allocated
func TestShapeIsCheap(t *testing.T) {
	text := []byte(body(`"unheard":[` + strings.Repeat("1,", 4<<20) + "1]"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := jobs.ParsePayload(text); err == nil {
		t.Error("accepted")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes for a body of %d", used, len(text))
	}
}

// Every field that is text has a length that it may have, and one byte more is a fault that names it.
func TestLengthsOfFields(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("a", n) }
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	deep := func(n int) string { // a path of n bytes
		p := strings.Repeat("/"+long(200), n/201)
		return p + "/" + long(n-len(p)-1)
	}
	for field, c := range map[string]struct {
		limit string
		value func(n int) string
		most  int
		more  string
	}{
		"user":           {"64", func(n int) string { return quoted(long(n)) }, 64, ""},
		"workspace":      {"128", func(n int) string { return quoted(long(n)) }, 128, `"deployment":"d",`},
		"project":        {"128", func(n int) string { return quoted(long(n)) }, 128, `"deployment":"d",`},
		"deployment":     {"128", func(n int) string { return quoted(long(n)) }, 128, `"workspace":"w",`},
		"workdir":        {"4096", func(n int) string { return quoted(deep(n)) }, 4096, ""},
		"workspaceRoot":  {"4096", func(n int) string { return quoted(deep(n)) }, 4096, ""},
		"stateRoot":      {"4096", func(n int) string { return quoted(deep(n)) }, 4096, ""},
		"topologyPath":   {"4096", func(n int) string { return quoted(deep(n + 1)[1:]) }, 4096, ""},
		"collectOutput":  {"4096", func(n int) string { return quoted(deep(n + 1)[1:]) }, 4096, ""},
		"collectTar":     {"4096", func(n int) string { return quoted(deep(n + 1)[1:]) }, 4096, ""},
		"plugin":         {"128", func(n int) string { return "[" + quoted(long(n)) + "]" }, 128, ""},
		"instance":       {"64", func(n int) string { return quoted(long(n)) }, 64, ""},
		"topologyUrl":    {"2048", func(n int) string { return quoted("http://example.com/" + long(n-19)) }, 2048, ""},
		"topology":       {"4194304", func(n int) string { return quoted("a: " + long(n-3)) }, 4 << 20, ""},
		"host":           {"63", func(n int) string { return quoted(long(n)) }, 63, ""},
		"labels":         {"63", func(n int) string { return `{"a":` + quoted(long(n)) + `}` }, 63, ""},
		"environment":    {"32768", func(n int) string { return `{"NETLAB_A":` + quoted(long(n)) + `}` }, 32 << 10, ""},
		"multilabId":     {"199", func(n int) string { return fmt.Sprint(n) }, 199, ""},
		"timeoutSeconds": {"604800", func(n int) string { return fmt.Sprint(n) }, 604800, ""},
	} {
		text := func(n int) string {
			members := `{` + c.more + `"` + field + `":` + c.value(n)
			if field != "workdir" && field != "workspace" && field != "project" && field != "deployment" {
				members += `,"workdir":"/srv/a"`
			} else if field != "workdir" {
				members += `,"workspaceRoot":"/srv"`
			}
			return members + "}"
		}
		if _, err := jobs.ParsePayload([]byte(text(c.most))); err != nil {
			t.Errorf("%s of %d: %.300v", field, c.most, err)
		}
		_, err := jobs.ParsePayload([]byte(text(c.most + 1)))
		if err == nil || !strings.HasPrefix(err.Error(), field+": ") || !strings.Contains(err.Error(), c.limit) || len(err.Error()) > 400 {
			t.Errorf("%s of %d: %.500v", field, c.most+1, err)
		}
	}
	// Names within a field have theirs, too.
	for text, want := range map[string]string{
		`{"workdir":"/srv/a","labels":{"` + long(64) + `":"b"}}`:              "labels: ",
		`{"workdir":"/srv/a","environment":{"` + long(129) + `":"b"}}`:        "environment: ",
		`{"workdir":"/srv/a","action":"` + long(1<<20) + `"}`:                 "action: ",
		`{"workdir":"/srv/` + long(256) + `"}`:                                "workdir: ",
		`{"workdir":"/srv/a","multilabId":"` + strings.Repeat("9", 99) + `"}`: "multilabId: ",
	} {
		if _, err := jobs.ParsePayload([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("%.60s: %.500v", text, err)
		}
	}
}
