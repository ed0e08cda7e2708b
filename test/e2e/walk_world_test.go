package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/labs"
)

// walk is a fleet, and the labs that the walk goes over.
type walk struct {
	t     *testing.T
	f     *fleet
	labs  []*walkLab
	taken []step
	round int
	// open are the jobs that were not waited for, with the step that began each.
	open  []string
	of    map[string]step
	story strings.Builder
	gates int
	// spoiled says that the stand-ins do not tell the truth.
	spoiled bool
	// again says that every lab has come to its good end, and is started again to see that.
	again bool
	// ghosts are directories that there never were.
	ghosts []string
}

// walkLab is a directory with a lab.
type walkLab struct {
	name    string
	root    string
	moves   int
	own     map[string]string
	payload object
	// nodes is how many containers the original topology has.
	nodes int
	// places are all the directories that the lab has been in, this one last.
	places []string
}

func (l *walkLab) dir() string { return l.places[len(l.places)-1] }

func newWalk(t *testing.T) *walk {
	t.Helper()
	w := &walk{t: t, f: single(t), of: map[string]step{}}
	w.reset()
	return w
}

// reset begins a round: new directories, no knobs, an empty host.
func (w *walk) reset() {
	w.t.Helper()
	w.round++
	w.taken, w.open, w.spoiled, w.again, w.ghosts = nil, nil, false, false, nil
	w.of = map[string]step{}
	w.story.Reset()
	clab, plugged, external := w.sample("linux2"), w.sample("linux2"), w.sample("external")
	plugged["topology.yml"] += "plugin: [ mark ]\n"
	plugged["mark.py"] = "def init(topology):\n  pass\n"
	root := filepath.Join(w.f.root, strconv.Itoa(w.round))
	w.labs = []*walkLab{
		{name: "one", places: []string{filepath.Join(root, "u1", "lab")}, own: clab, nodes: 3},
		{name: "two", places: []string{filepath.Join(root, "u2", "lab")}, own: maps.Clone(plugged), nodes: 3},
		{name: "ext", places: []string{filepath.Join(root, "ext")}, own: external},
		{name: "seven", places: []string{filepath.Join(root, "seven")}, own: maps.Clone(plugged), nodes: 3, payload: object{"multilabId": 7}},
		{name: "free", places: []string{filepath.Join(root, "u3", "lab")}, own: maps.Clone(external), payload: object{"plugin": "multilab"}},
	}
	for _, l := range w.labs {
		l.root = root
		w.layOut(l)
	}
}

func (w *walk) sample(name string) map[string]string {
	w.t.Helper()
	dir := w.t.TempDir()
	labs.Copy(w.t, name, dir)
	content, err := os.ReadFile(filepath.Join(dir, "topology.yml"))
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string]string{"topology.yml": string(content)}
}

func (w *walk) lab(name string) *walkLab {
	for _, l := range w.labs {
		if l.name == name {
			return l
		}
	}
	w.t.Fatalf("no lab %q", name)
	return nil
}

// layOut puts the lab's own files where they belong, and leaves those that are there and right.
func (w *walk) layOut(l *walkLab) {
	w.t.Helper()
	if err := os.MkdirAll(l.dir(), 0o755); err != nil {
		w.t.Fatal(err)
	}
	for name, content := range l.own {
		file := filepath.Join(l.dir(), name)
		if isRegular(file) {
			if old, err := os.ReadFile(file); err == nil && string(old) == content {
				continue
			}
		}
		w.write(file, content)
	}
}

// write writes a file, in the place of whatever else has its name: to open a pipe waits for somebody at its other end.
func (w *walk) write(file, content string) {
	w.t.Helper()
	if !isRegular(file) {
		_ = os.RemoveAll(file)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func isRegular(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

func (w *walk) tell(format string, args ...any) {
	fmt.Fprintf(&w.story, "%s %s\n", time.Now().Format("05.000"), fmt.Sprintf(format, args...))
}

// play takes the steps, and brings every lab to a good end.
func (w *walk) play(steps []step) error {
	for _, s := range steps {
		if err := w.take(s); err != nil {
			return err
		}
	}
	return w.end()
}

// take takes one step. Its error says what a promise was broken.
func (w *walk) take(s step) error {
	w.taken = append(w.taken, s)
	w.tell("%s", strings.TrimSpace(show([]step{s})))
	switch s.Do {
	case "job":
		return w.job(s)
	case "knob":
		w.spoiled = true
		w.f.standins.SetKnob(s.At, *s.Knob)
	case "kill worker":
		w.restart()
	default:
		w.spoil(s, w.lab(s.Lab))
	}
	return nil
}

func (w *walk) restart() {
	w.f.any().kill()
	w.f.startSingle()
}

// spoil changes what a user, an operator or an accident may change.
func (w *walk) spoil(s step, l *walkLab) {
	w.t.Helper()
	path, statusFile := filepath.Join(l.dir(), s.Name), w.f.path("home", ".netlab", "status.yaml")
	_ = os.MkdirAll(filepath.Dir(statusFile), 0o755)
	status, _ := os.ReadFile(statusFile)
	id := "default"
	if n, ok := l.payload["multilabId"]; ok {
		id = fmt.Sprint(n)
	}
	// What is not there any more cannot be spoiled: such a step does nothing.
	_, missing := os.Stat(l.dir())
	switch s.Do {
	case "delete", "delete own":
		_ = os.RemoveAll(path)
	case "empty":
		entries, _ := os.ReadDir(l.dir())
		for _, e := range entries {
			_ = os.RemoveAll(filepath.Join(l.dir(), e.Name()))
		}
	case "remove directory":
		_ = os.RemoveAll(l.dir())
	case "cut":
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			_ = os.Truncate(path, info.Size()/2)
		}
	case "garble":
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			_ = os.WriteFile(path, []byte("}{ \x00 garbage: ["), 0o644)
		}
	case "touch":
		_ = os.Chtimes(path, time.Now(), time.Now().Add(time.Hour))
	case "pipe", "folder", "dangling link":
		if missing == nil {
			w.replace(path, s.Do)
		}
	case "damage home":
		w.damageHome(filepath.Join(filepath.Dir(statusFile), s.Name))
	case "topology":
		if missing == nil {
			w.write(filepath.Join(l.dir(), "topology.yml"), variant(l.own["topology.yml"], s.Name))
		}
	case "lock":
		if missing == nil {
			w.write(filepath.Join(l.dir(), "netlab.lock"), "")
		}
	case "lay out":
		w.layOut(l)
	case "move":
		l.moves++
		place := fmt.Sprintf("%s-moved-%d", l.places[0], l.moves)
		if missing == nil && w.settle() == nil && os.Rename(l.dir(), place) == nil {
			l.places = append(l.places, place)
		}
	case "swap":
		w.swap(l, w.lab(s.Name))
	case "cut status":
		w.write(statusFile, string(status[:len(status)/2]))
	case "garble status":
		w.write(statusFile, "default: [ {")
	case "empty status":
		w.write(statusFile, "")
	case "ghost here":
		w.write(statusFile, string(status)+fmt.Sprintf("'%s':\n  dir: %s\n  providers: []\n", id, l.dir()))
	case "ghost elsewhere":
		w.write(statusFile, string(status)+entry(id, w.lab(s.Name).dir()))
	case "ghost gone":
		gone := filepath.Join(l.root, "gone")
		w.ghosts = append(w.ghosts, gone)
		w.write(statusFile, string(status)+entry(id, gone))
	case "docker rm":
		w.docker("rm", "-f", s.Name)
	case "docker stop":
		w.docker("stop", s.Name)
	case "docker network rm":
		w.docker("network", "rm", "netlab_mgmt")
	default:
		w.t.Fatalf("no sabotage %q", s.Do)
	}
}

// entry is a lab of the status file.
func entry(id, dir string) string {
	return fmt.Sprintf("'%s':\n  dir: %s\n  status: started\n  providers: [ clab ]\n", id, dir)
}

// replace puts something else in the place of a file.
func (w *walk) replace(path, kind string) {
	w.t.Helper()
	err := os.RemoveAll(path)
	switch kind {
	case "pipe":
		err = errors.Join(err, syscall.Mkfifo(path, 0o644))
	case "folder":
		err = errors.Join(err, os.Mkdir(path, 0o755))
	case "dangling link":
		err = errors.Join(err, os.Symlink("/nowhere/at/all", path))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// damageHome cuts a file of Netlab's in the home, as a crash while it is written does, or removes the folder.
func (w *walk) damageHome(path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.IsDir():
		_ = os.RemoveAll(path)
	default:
		_ = os.Truncate(path, info.Size()/2)
	}
}

// swap puts each of two labs in the other's directory.
func (w *walk) swap(a, b *walkLab) {
	here, there := a.dir(), b.dir()
	if a == b || w.settle() != nil || os.Rename(here, here+"-aside") != nil {
		return
	}
	if os.Rename(there, here) != nil {
		_ = os.Rename(here+"-aside", here)
		return
	}
	_ = os.Rename(here+"-aside", there)
	a.places, b.places = append(a.places, there), append(b.places, here)
}

func (w *walk) docker(args ...string) {
	cmd := exec.Command(filepath.Join(w.f.standins.Path(), "docker"), args...)
	cmd.Env = []string{"PATH=" + filepath.Dir(w.python()) + ":/usr/bin:/bin"}
	output, err := cmd.CombinedOutput()
	w.tell("docker %v: %v %s", args, err, output)
}

// variant is a topology that somebody has edited.
func variant(topology, name string) string {
	switch name {
	case "node added":
		return strings.Replace(topology, "nodes:\n", "nodes:\n  x9: { device: linux, netlab_ansible_skip_module: [ initial, routing ] }\n", 1)
	case "node removed":
		topology = strings.Replace(topology, "  h2: { device: linux }\n", "", 1)
		return strings.Replace(topology, "h1, h2, r1", "h1, r1", 1)
	case "provider":
		if strings.Contains(topology, "provider: external") {
			return strings.Replace(strings.Replace(topology, "provider: external", "provider: clab", 1), "netlab_ansible_skip_module: [ initial, routing ]", "device: linux", 2)
		}
		return strings.Replace(topology, "provider: clab", "provider: external", 1)
	case "name":
		return topology + "name: other\n"
	case "broken":
		return topology + "module: [ telepathy\n"
	case "multilab":
		return topology + "defaults.multilab.id: 9\nplugin: [ multilab ]\n"
	}
	return topology
}

// job submits a job, disturbs it, and waits for it unless it goes on beside.
func (w *walk) job(s step) error {
	l := w.lab(s.Lab)
	payload := object{"action": s.Action, "workdir": l.dir(), "timeoutSeconds": s.Timeout}
	if slices.Contains([]string{"up", "create", "restart", "validate"}, s.Action) {
		maps.Copy(payload, l.payload)
	}
	gate := ""
	if s.At != "" {
		w.gates++
		gate = fmt.Sprintf("gate-%d-%d", w.round, w.gates)
		knob := *s.Knob
		knob.Gate, knob.Times = gate, 1
		w.f.standins.SetKnob(s.At, knob)
	}
	id := w.f.any().submit(w.t, payload).ID
	w.open, w.of[id] = append(w.open, id), s
	if s.Then != "" {
		w.disturb(id, gate, s)
	}
	if s.Beside && gate == "" {
		return nil
	}
	alone := len(w.open) == 1
	err := w.wait(id)
	if gate != "" {
		w.f.standins.SetKnob(s.At)
		w.f.standins.Gate(gate).Open()
	}
	if err != nil || !alone || w.spoiled || s.At != "" {
		return err
	}
	return w.holds(l, s.Action, id)
}

// disturb waits for the moment, and does what the step says.
func (w *walk) disturb(id, gate string, s step) {
	w.t.Helper()
	moment := time.Now().Add(time.Duration(s.After) * time.Millisecond)
	if gate != "" {
		moment = time.Now().Add(20 * time.Second)
	}
	for time.Now().Before(moment) && !w.ended(id) && (gate == "" || !exists(w.t, w.f.standins.Dir(), gate+".reached")) {
		time.Sleep(20 * time.Millisecond)
	}
	switch s.Then {
	case "cancel":
		status, body := w.f.any().do(w.t, "POST", "/jobs/"+id+"/cancel", nil)
		w.tell("cancel: %d %.80s", status, body)
	case "kill worker":
		w.restart()
		if gate != "" {
			w.f.standins.Gate(gate).Open()
		}
	case "kill driver", "kill command", "kill one":
		w.tell("killed %d", w.killOf(id, s.Then))
	}
}

func (w *walk) seen(id string) jobs.Job {
	var job jobs.Job
	w.f.any().get(w.t, "/jobs/"+id, &job)
	return job
}

func (w *walk) ended(id string) bool {
	job := w.seen(id)
	return job.State.Terminal()
}

// settle waits for every job that goes on beside.
func (w *walk) settle() error {
	var errs []error
	for _, id := range slices.Clone(w.open) {
		errs = append(errs, w.wait(id))
	}
	return errors.Join(errs...)
}
