package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// askedAtOnce bounds the questions of a kind that this host works on at once. It is less than what the bus lets in, so that
// whoever is too many hears so at once.
const askedAtOnce = 3

// replyTime is what is left of a question's time for what it started to be ended, and for the answer to be sent.
const replyTime = 1500 * time.Millisecond

// noAnswer is why a question about a lab has none, with the HTTP status that says so: 400 (the question), 404 (there is no such
// lab or node), 409 (the lab's state), 503 (later, maybe).
type noAnswer struct {
	Status int    `json:"status"`
	Text   string `json:"error"`
}

func (e *noAnswer) Error() string { return e.Text }

func noAnswerf(status int, format string, args ...any) error {
	return &noAnswer{Status: status, Text: fmt.Sprintf(format, args...)}
}

// answerOf makes the reply to a question: what was found, or {"status","error"}.
func (w *Worker) answerOf(err error, found any) ([]byte, error) {
	var (
		none    *noAnswer
		invalid *invalidError
		refused *exec.RefusedError
		hung    *exec.HungError
		noUser  *account.UnknownError
	)
	switch {
	case err == nil:
		return json.Marshal(found)
	case errors.As(err, &none):
	case errors.As(err, &invalid):
		none = &noAnswer{Status: http.StatusBadRequest, Text: invalid.Error()}
	case errors.As(err, &refused):
		status := map[string]int{"unknown": http.StatusNotFound, "invalid": http.StatusBadRequest}[refused.Kind]
		if status == 0 {
			status = http.StatusConflict
		}
		none = &noAnswer{Status: status, Text: refused.Text}
	case errors.As(err, &hung):
		none = &noAnswer{Status: http.StatusServiceUnavailable, Text: fmt.Sprintf("host %s: %v; it was ended", w.config.Host, hung)}
	case errors.As(err, &noUser):
		none = &noAnswer{Status: http.StatusConflict, Text: err.Error()}
	default:
		return nil, err
	}
	return json.Marshal(none)
}

// enter takes one of the places for questions of a kind.
func enter(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, noAnswerf(http.StatusServiceUnavailable, "this host is busy with %d such questions: ask again", cap(places))
	}
}

// visit answers a question about a lab with what f finds there. It takes one of the places for questions of its kind, and leaves
// time for the reply.
func (w *Worker) visit(ctx context.Context, places chan struct{}, lab *jobs.Lab, f func(ctx context.Context, s *site) (any, error)) ([]byte, error) {
	leave, err := enter(places)
	if err != nil {
		return w.answerOf(err, nil)
	}
	defer leave()
	ctx, cancel := hurry(ctx)
	defer cancel()
	s, err := w.find(ctx, lab)
	if err != nil {
		return w.answerOf(err, nil)
	}
	defer s.close()
	found, err := f(ctx, s)
	return w.answerOf(err, found)
}

// site is a lab, or a directory that may become one, as a question finds it.
type site struct {
	// dir is the real path, file the opened directory, root the allowed root and rel the path below it.
	dir, rel string
	file     *os.File
	root     *os.Root
	who      *account.Account
	// lab is nil where there is none but the directory.
	lab *inventory.Lab
}

func (s *site) close() {
	_ = s.file.Close()
	_ = s.root.Close()
}

// find finds what a question is about: the lab in the working directory, else that of the instance, else the directory.
func (w *Worker) find(ctx context.Context, q *jobs.Lab) (*site, error) {
	listing, err := w.labs.list(ctx)
	if err != nil {
		return nil, noAnswerf(http.StatusServiceUnavailable, "the labs of host %s cannot be looked at: %v", w.config.Host, err)
	}
	if q.Workdir != "" {
		return looked(ctx, w.looks, q.Workdir, func() (*site, error) {
			dir := realPath(q.Workdir)
			return w.open(q, dir, labAt(listing, dir, q.Instance))
		})
	}
	known, ok := listing.Lab(q.Instance)
	if !ok || known.Dir == "" {
		return nil, noAnswerf(http.StatusNotFound, "there is no lab %s on host %s; GET /labs lists those there are", q.Instance, w.config.Host)
	}
	return looked(ctx, w.looks, known.Dir, func() (*site, error) { return w.open(q, known.Dir, known) })
}

// labAt is the lab in the directory, of several that of the instance; nil where there is none. The instance of a question that
// names a directory may be a client's own number of the lab, which Netlab has not been told.
func labAt(listing *inventory.Listing, dir, instance string) *inventory.Lab {
	here := listing.At(dir)
	if i := slices.IndexFunc(here, func(l inventory.Lab) bool { return l.Instance == instance }); i > 0 {
		return &here[i]
	}
	if len(here) > 0 {
		return &here[0]
	}
	return nil
}

// open opens the directory below the roots, with the rights of whose it is.
func (w *Worker) open(q *jobs.Lab, dir string, lab *inventory.Lab) (*site, error) {
	root, rel, err := w.within("workdir", dir, false)
	if err != nil {
		return nil, err
	}
	s := &site{lab: lab, root: root, rel: rel, dir: filepath.Join(root.Name(), rel)}
	if err := w.enterSite(q, s); err != nil {
		_ = root.Close()
		return nil, err
	}
	return s, nil
}

func (w *Worker) enterSite(q *jobs.Lab, s *site) (err error) {
	if _, err := s.root.Stat(s.rel); errors.Is(err, fs.ErrNotExist) {
		return noAnswerf(http.StatusNotFound, "there is no directory %s on host %s", s.dir, w.config.Host)
	}
	listed := s.lab != nil && s.lab.StatusFile != ""
	if listed {
		s.who, err = w.ownerOf(s.lab)
	} else {
		s.who, err = w.accountOf(&jobs.Job{Workdir: s.dir, Request: jobs.Request{User: q.User}})
	}
	if err != nil {
		return err
	}
	err = s.who.Do(func() (err error) {
		s.file, err = openDir(s.root, s.rel)
		return err
	})
	if err != nil {
		return invalid("workdir", "%s cannot be opened by %s: %v", s.dir, s.who.Name, err)
	}
	if listed {
		if err := checkOwner(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), s.who); err != nil {
			_ = s.file.Close()
			return noAnswerf(http.StatusConflict, "%s: %v", s.dir, err)
		}
	}
	return nil
}

// setting is how Netlab is asked about the site.
func (w *Worker) setting(n *exec.Netlab, s *site) exec.Setting {
	return exec.Setting{
		Place: s.file, User: s.who.Credential(),
		Env: n.Environment(exec.Surroundings{User: s.who.Name, Home: s.who.Home, Workdir: s.dir, Path: w.path()}),
	}
}

// hurry leaves time for the reply.
func hurry(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	return context.WithDeadline(ctx, deadline.Add(-replyTime))
}
