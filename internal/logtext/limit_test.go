package logtext_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/logtext"
)

func marker(size int) string {
	return fmt.Sprintf("netlab-worker: the log has reached its limit of %d bytes (NETLAB_WORKER_LOG_LIMIT): what the job writes from here on is left out\n", size)
}

// limited cuts a text in pieces of n bytes at most, at runes.
func limited(l *logtext.Limit, text string, n int) string {
	var out strings.Builder
	for text != "" {
		size := min(n, len(text))
		for size < len(text) && !utf8.RuneStart(text[size]) {
			size++
		}
		out.Write(l.Write([]byte(text[:size])))
		text = text[size:]
	}
	out.Write(l.Close())
	return out.String()
}

func TestLimit(t *testing.T) {
	t.Parallel()
	const own = "netlab-worker: "
	m := marker(40)
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                    {"", ""},
		"less":                       {"a line\n", "a line\n"},
		"exactly":                    {strings.Repeat("x", 39) + "\n", strings.Repeat("x", 39) + "\n"},
		"exactly, within a line":     {strings.Repeat("x", 40), strings.Repeat("x", 40)},
		"one more":                   {strings.Repeat("x", 41), strings.Repeat("x", 40) + "\n" + m},
		"one more line":              {strings.Repeat("x", 39) + "\ny\n", strings.Repeat("x", 39) + "\n" + m},
		"its line end is one more":   {strings.Repeat("x", 40) + "\n", strings.Repeat("x", 40) + "\n" + m},
		"within a rune":              {strings.Repeat("x", 38) + "€\n", strings.Repeat("x", 38) + "\n" + m},
		"much more":                  {strings.Repeat("line\n", 1000), strings.Repeat("line\n", 8) + m},
		"the worker's after it":      {strings.Repeat("line\n", 1000) + own + "failed: so\nmore\n" + own + "the end\n", strings.Repeat("line\n", 8) + m + own + "failed: so\n" + own + "the end\n"},
		"the worker's without end":   {strings.Repeat("line\n", 9) + own + "the end", strings.Repeat("line\n", 8) + m + own + "the end"},
		"within a line it is none":   {strings.Repeat("line\n", 9) + " " + own + "no\n" + "x" + own + "no\n", strings.Repeat("line\n", 8) + m},
		"nearly the worker's":        {strings.Repeat("line\n", 8) + "netlab-worker\nnetlab-worker:no\nnetlab", strings.Repeat("line\n", 8) + m},
		"its beginning fits":         {strings.Repeat("line\n", 7) + "netlab", strings.Repeat("line\n", 7) + "netla\n" + m},
		"it ends with one":           {strings.Repeat("line\n", 6) + "netlab", strings.Repeat("line\n", 6) + "netlab"},
		"the worker's over the edge": {strings.Repeat("line\n", 7) + own + "is whole\n", strings.Repeat("line\n", 7) + own + "is whole\n" + m},
		"then another":               {strings.Repeat("line\n", 7) + own + "one\n" + own + "two\n", strings.Repeat("line\n", 7) + own + "one\n" + m + own + "two\n"},
		"over the edge without end":  {strings.Repeat("line\n", 7) + own + "is whole", strings.Repeat("line\n", 7) + own + "is whole\n" + m},
	} {
		for n := 1; n <= len(c.in)+1; n += 1 + n/10 {
			if diff := cmp.Diff(c.want, limited(logtext.NewLimit(40), c.in, n)); diff != "" {
				t.Errorf("%s, in pieces of %d (-want +got):\n%s", name, n, diff)
				break
			}
		}
	}
	text := strings.Repeat("line\n", 1000)
	if got := limited(logtext.NewLimit(0), text, 100); got != text {
		t.Errorf("without a limit: %d bytes", len(got))
	}
}

// What looks like the worker's own lines has a bound as well.
func TestLimitOfOwnLines(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"lines":            strings.Repeat("line\n", 100) + strings.Repeat("netlab-worker: flood\n", 10_000),
		"a line":           strings.Repeat("line\n", 100) + "netlab-worker: " + strings.Repeat("é", 100_000) + "\nnetlab-worker: more\n",
		"lines from first": strings.Repeat("netlab-worker: flood\n", 10_000) + "line\nnetlab-worker: more\n",
		"a line at first":  "netlab-worker: " + strings.Repeat("é", 100_000) + "\nnetlab-worker: more\nline\n",
	} {
		var first string
		for _, n := range []int{1 << 20, 1000, 7, 1} {
			got := limited(logtext.NewLimit(200), in, n)
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s: differs in pieces of %d", name, n)
			}
		}
		if len(first) > 200+64<<10 || len(first) < 60<<10 || strings.Count(first, marker(200)) != 1 || !utf8.ValidString(first) || !strings.HasSuffix(first, "\n") {
			t.Errorf("%s: %d bytes, ends with %q", name, len(first), first[max(len(first)-50, 0):])
		}
	}
}

// However the text is cut into blocks, and wherever it is begun anew, what passes is the same.
func TestLimitIsTheSameHoweverItIsCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		checkLimit(t, oddText(r), 1+r.IntN(200), 1+r.IntN(30), r.IntN(400))
	}
}

func oddText(r *rand.Rand) string {
	var text strings.Builder
	for range r.IntN(40) {
		text.WriteString([]string{"line\n", "netlab-worker: own\n", "netlab-worker: ", "netlab", "-worker: ", "€", "\n", "x", "netlab-worker: long " + strings.Repeat("o", 30)}[r.IntN(9)])
	}
	return text.String()
}

func checkLimit(t *testing.T, text string, size, piece, at int) {
	t.Helper()
	want := limited(logtext.NewLimit(int64(size)), text, max(len(text), 1))
	if got := limited(logtext.NewLimit(int64(size)), text, piece); got != want {
		t.Fatalf("%q in pieces of %d with a limit of %d:\n%q, want\n%q", text, piece, size, got, want)
	}
	if !strings.HasPrefix(text, want) {
		head, tail, found := strings.Cut(want, marker(size))
		if whole := strings.HasPrefix(text, strings.TrimSuffix(head, "\n")); !found || !whole {
			t.Fatalf("%q becomes %q", text, want)
		}
		for line := range strings.Lines(tail) {
			if !strings.HasPrefix(line, logtext.Own) {
				t.Fatalf("%q has the line %q at its end", want, line)
			}
		}
		if len(text) <= size {
			t.Fatalf("%q is cut", text)
		}
	}
	// A beginning that was closed, and what follows it from its offset on.
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	at = min(at, len(text))
	l := logtext.NewLimit(int64(size))
	head := limited(l, text[:at], piece)
	l.Reset(int64(len(head)))
	if whole := head + limited(l, text[at:], piece); strings.Count(whole, marker(size)) > 1 || !utf8.ValidString(whole) {
		t.Fatalf("%q begun anew at %d: %q", text, at, whole)
	}
}

func FuzzLimit(f *testing.F) {
	f.Add("line\nnetlab-worker: own\nmore\n", uint8(7), uint8(3), uint8(9))
	f.Add("netlab-worker: own and long\nnetlab-worker: two\n€", uint8(20), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, text string, size, piece, at uint8) {
		if !utf8.ValidString(text) || strings.Contains(text, "reached its limit") {
			return
		}
		checkLimit(t, text, int(size)+1, int(piece)+1, int(at))
	})
}
