package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Git as it is set up for whoever runs the tests, in a hook of another repository say, is not theirs.
func TestMain(m *testing.M) {
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "GIT_") {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	_ = os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Exit(m.Run())
}

// What changed is told from noise, and which way it changed from what is better.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		better        string
		before, after []float64
		want          verdict
		fails         bool
	}{
		{"twice as slow, less is better", "less", []float64{10, 11, 10, 11}, []float64{23, 24, 23, 24}, worse, true},
		{"a little slower", "less", []float64{10, 11, 10, 11}, []float64{12, 13, 12, 13}, worse, false},
		{"faster", "less", []float64{10, 11, 10, 11}, []float64{2, 3, 2, 3}, better, false},
		{"half as many, more is better", "more", []float64{23, 24, 23, 24}, []float64{10, 11, 10, 11}, worse, true},
		{"twice as many", "more", []float64{10, 11, 10, 11}, []float64{23, 24, 23, 24}, better, false},
		{"as far apart, but noise", "less", []float64{10, 60, 10, 60}, []float64{23, 24, 61, 62}, noChange, false},
		{"all the same", "less", []float64{7, 7, 7, 7}, []float64{7, 7, 7, 7}, noChange, false},
		{"three values each", "less", []float64{10, 11, 12}, []float64{19, 91, 92}, tooFew, false},
		{"three values each, all of which are far apart", "less", []float64{10, 11, 12}, []float64{90, 91, 92}, tooFew, true},
		{"two values each, far worse", "more", []float64{50, 51}, []float64{20, 21}, tooFew, true},
		{"two values each, far better", "more", []float64{20, 21}, []float64{50, 51}, tooFew, false},
		{"one value", "more", []float64{50, 51}, []float64{20}, tooFew, false},
		{"nothing before", "less", nil, []float64{1, 2, 3, 4}, notComparable, false},
	} {
		changes := changesOf(
			[]row{{Name: "r", Unit: "ms", Better: c.better, Here: c.before}}, []row{{Name: "r", Unit: "ms", Better: c.better, Here: c.after}},
		)
		if len(changes) != 1 || changes[0].verdict != c.want {
			t.Errorf("%s: %+v, want %q", c.name, changes, c.want)
		}
		if err := losses(changes); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Rows are found again by the name of their figure and their own, whatever is between them.
func TestRows(t *testing.T) {
	t.Parallel()
	of := func(names ...string) (rows []row) {
		for i, n := range names {
			rows = append(rows, row{Name: n, Unit: "ms", Better: "less", Here: []float64{float64(i)}})
		}
		return rows
	}
	before := merge(merge(nil, of("a", "  time", "b", "  time", "c", "c")), of("b", "  time", "a", "  time", "c", "c"))
	after := merge(nil, of("b", "  time", "new", "a"))
	got := ""
	for _, c := range changesOf(before, after) {
		got += fmt.Sprintf("%s %v %v %s\n", c.row.Name, c.before, c.after, c.verdict)
	}
	const want = `b [2 0] [0] too few values to tell
b: time [3 1] [1] too few values to tell
new [] [2] not comparable
a [0 2] [3] too few values to tell
a: time [1 3] [] not comparable
c [4 4] [] not comparable
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	other := []row{{Name: "a", Unit: "s", Better: "less", Here: []float64{1, 2, 3, 4}}}
	if got := changesOf(merge(nil, of("a")), other)[0].verdict; got != notComparable {
		t.Errorf("another unit: %q", got)
	}
}

// What the program under test has no part in is no loss, where either revision says that it has none.
func TestReferences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after, fails bool }{{false, false, true}, {false, true, false}, {true, false, false}} {
		changes := changesOf(
			[]row{{Name: "r", Better: "less", Here: []float64{10, 11, 10, 11}, Reference: c.before}},
			[]row{{Name: "r", Better: "less", Here: []float64{23, 24, 23, 24}, Reference: c.after}},
		)
		if err := losses(changes); changes[0].verdict != worse || (err != nil) != c.fails {
			t.Errorf("%+v: %s, %v", c, changes[0].verdict, err)
		}
	}
}

// benchmark is a program such as test/bench that takes the flags and says that a request takes so long, a little more in each round.
// With 0 it goes on until it is interrupted, and leaves word of that in the directory marks.
const benchmark = `package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

const (
	took  = %d
	marks = %q
)

func main() {
	file := flag.String("json", "", "")
	flag.String("dir", "", "")
	flag.String("run", "", "")
	rounds := flag.Int("rounds", 1, "")
	flag.String("python", "", "")
	flag.Parse()
	if took == 0 {
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		os.WriteFile(marks+"/started", nil, 0o600)
		<-interrupted
		os.WriteFile(marks+"/interrupted", nil, 0o600)
		os.Exit(1)
	}
	var values []string
	for i := range *rounds {
		values = append(values, fmt.Sprint(took+i))
	}
	text := fmt.Sprintf(` + "`" + `{"rows": [{"name": "request", "unit": "ms", "better": "less", "here": [%%s]}]}` + "`" + `, strings.Join(values, ","))
	if err := os.WriteFile(*file, []byte(text), 0o600); err != nil {
		panic(err)
	}
}
`

// repository is one with a revision for each text of its benchmark program; without any the revision has none.
type repository struct {
	*testing.T
	dir       string
	revisions []string
	temporary string // for comparisons
}

func newRepository(t *testing.T, programs ...string) *repository {
	t.Helper()
	r := &repository{T: t, dir: t.TempDir(), temporary: t.TempDir()}
	r.git("init", "--quiet")
	r.write("go.mod", "module example\n\ngo 1.26\n")
	for _, p := range programs {
		if p != "" {
			r.write("test/bench/main.go", p)
		}
		r.git("add", ".")
		r.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--allow-empty", "-m", "revision")
		r.revisions = append(r.revisions, strings.TrimSpace(r.git("rev-parse", "HEAD")))
	}
	return r
}

func (r *repository) write(file, text string) {
	r.Helper()
	file = filepath.Join(r.dir, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r *repository) git(args ...string) string {
	r.Helper()
	out, err := command(r.Context(), r.dir, "git", args...)
	if err != nil {
		r.Fatal(err)
	}
	return string(out)
}

// options are those of a comparison in the repository.
func (r *repository) options(base, head string) *options {
	return &options{base: base, head: head, turns: 2, rounds: 2, root: r.dir, dir: r.temporary}
}

// checkTidy checks that comparisons have left nothing behind.
func (r *repository) checkTidy() {
	r.Helper()
	if left, err := os.ReadDir(r.temporary); err != nil || len(left) > 0 {
		r.Errorf("left behind: %v %v", left, err)
	}
	if list := r.git("worktree", "list"); strings.Count(list, "\n") != 1 {
		r.Errorf("worktrees are left:\n%s", list)
	}
}

// The real thing on small programs: revisions are built and run in turns, and a great loss alone fails.
func TestCompare(t *testing.T) {
	t.Parallel()
	const noFlags = "package main\n\nfunc main() { panic(\"no flag of these\") }\n"
	r := newRepository(t, "", noFlags, fmt.Sprintf(benchmark, 10, ""), fmt.Sprintf(benchmark, 50, ""))
	none, unusable, first, slow := r.revisions[0], r.revisions[1], r.revisions[2], r.revisions[3]
	r.write("test/bench/main.go", fmt.Sprintf(benchmark, 15, "")) // the working tree
	for _, c := range []struct {
		name, base, head string
		want, fails      string
	}{
		{"a great loss", first, slow, "+381 %  worse", "worse by a factor of 4.81, more than 2: request"},
		{"a small loss in the working tree", first, "", "+48 %   worse", ""},
		{"no benchmarks before", none, first, "nothing to compare with", ""},
		{"other flags before", unusable, first, "nothing to compare with", ""},
		{"other flags after", first, unusable, "", "no flag of these"},
		{"no such revision", "nowhere", first, "", `revision "nowhere": this checkout does not have it`},
	} {
		var out, progress bytes.Buffer
		err := r.options(c.base, c.head).compare(t.Context(), &out, &progress)
		if !strings.Contains(out.String(), c.want) || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v\n%s%s", c.name, err, progress.String(), out.String())
		}
	}
	r.checkTidy()
}

// A checkout without the previous release has nothing to compare with, and that is no failure.
func TestNoPreviousRelease(t *testing.T) {
	t.Parallel()
	r := newRepository(t, "")
	r.write("test/previous-release", strings.Repeat("1", 40)+"\n")
	var out bytes.Buffer
	if err := r.options("", "").compare(t.Context(), &out, &out); err != nil || !strings.Contains(out.String(), "shallow clone") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A base that runs no more is compared by the turns in which it did.
func TestBaseRunsOnce(t *testing.T) {
	t.Parallel()
	const onlyOnce = `if err := os.Mkdir(marks+"/ran", 0o700); err != nil {
		panic(err)
	}
	var values`
	once := strings.Replace(fmt.Sprintf(benchmark, 10, t.TempDir()), "var values", onlyOnce, 1)
	r := newRepository(t, once, fmt.Sprintf(benchmark, 50, ""))
	o := r.options(r.revisions[0], r.revisions[1])
	o.rounds = 4
	var out, progress bytes.Buffer
	if err := o.compare(t.Context(), &out, &progress); err == nil || !strings.Contains(err.Error(), "more than 2: request") || !strings.Contains(progress.String(), "the turns before are compared") {
		t.Errorf("%v\n%s%s", err, progress.String(), out.String())
	}
	r.checkTidy()
}

// What is said goes before what the brief form would take.
func TestBrief(t *testing.T) {
	t.Parallel()
	got, err := parseOptions([]string{"-brief", "-turns", "7", "-within", "0s"})
	if err != nil || got.turns != 7 || got.within != 0 || got.figures != briefFigures || got.rounds != briefRounds {
		t.Errorf("%+v, %v", got, err)
	}
}

// What takes longer than it may is ended, and what was not taken cannot fail.
func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	r := newRepository(t, fmt.Sprintf(benchmark, 0, t.TempDir()))
	o := r.options(r.revisions[0], "")
	o.within = time.Millisecond
	var out bytes.Buffer
	if err := o.compare(t.Context(), &out, &out); err != nil || !strings.Contains(out.String(), "no figure was taken") {
		t.Errorf("%v\n%s", err, out.String())
	}
	r.checkTidy()
}

// slowBuilder takes notes, and as long as it may take to run everything for that something is built.
type slowBuilder struct {
	bytes.Buffer
	pause time.Duration
}

func (s *slowBuilder) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("building")) {
		time.Sleep(s.pause)
	}
	return s.Buffer.Write(text)
}

// A revision whose benchmarks hang is no revision of which nothing can be said, however long it takes to build them.
func TestNewRevisionHangs(t *testing.T) {
	t.Parallel()
	r := newRepository(t, fmt.Sprintf(benchmark, 10, t.TempDir()), fmt.Sprintf(benchmark, 0, t.TempDir()))
	o := r.options(r.revisions[0], r.revisions[1])
	for o.within = 5 * time.Second; ; o.within *= 2 { // in which the first must have run
		out := slowBuilder{pause: o.within}
		err := o.compare(t.Context(), &out, &out)
		r.checkTidy()
		if err != nil && strings.Contains(err.Error(), "did not end once") {
			break
		}
		if err != nil || o.within > 15*time.Second {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
}

// An interrupt ends what runs and removes what was stored.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	marks := t.TempDir()
	r := newRepository(t, fmt.Sprintf(benchmark, 0, marks))
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var out bytes.Buffer
	go func() { done <- r.options(r.revisions[0], "").compare(ctx, &out, &out) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(marks, "started")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the benchmark does not start")
		}
	}
	interrupt()
	if err := <-done; err == nil {
		t.Errorf("no error after an interrupt\n%s", out.String())
	}
	if _, err := os.Stat(filepath.Join(marks, "interrupted")); err != nil {
		t.Errorf("the benchmark was not interrupted: %v", err)
	}
	r.checkTidy()
}
