package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
)

// endpoints are what the API may ask this host over the bus. life is the context of the worker's own work.
func (w *Worker) endpoints(life context.Context) map[string]func(context.Context, []byte) ([]byte, error) {
	return map[string]func(context.Context, []byte) ([]byte, error){
		"status":    w.status,
		"templates": w.templates,
		"labs":      w.labList,
		"artifacts": w.artifacts,
		"artifact":  w.artifact,
		"connect":   w.connect,
		"graph":     w.graph,
		"jobs":      func(ctx context.Context, q []byte) ([]byte, error) { return w.reconcile(life, ctx, q) },
	}
}

// answerWhen serves the endpoints until ctx ends. A question waits until the host's name is held: as long as another worker
// has it, the question is for that one.
func (w *Worker) answerWhen(ctx context.Context, held <-chan struct{}, wg *sync.WaitGroup) {
	for endpoint, answer := range w.endpoints(ctx) {
		finish, err := w.bus.Answer(ctx, w.config.Host, endpoint, func(ctx context.Context, question []byte) ([]byte, error) {
			select {
			case <-held:
				return answer(ctx, question)
			case <-ctx.Done():
				return nil, errors.New("the worker has not got the host's name yet")
			}
		})
		if err != nil {
			w.log.Error("the host does not answer what it is asked", "error", err)
			continue
		}
		wg.Go(finish)
	}
}

// statusAnswer is the answer to a question about the status.
type statusAnswer struct {
	Found bool            `json:"found"`
	Labs  json.RawMessage `json:"labs,omitempty"`
	Text  string          `json:"text,omitempty"`
}

// status answers {"instance","text"} with {"found","labs"|"text"}: what `netlab status --all` or `-i` says, of all users' labs.
func (w *Worker) status(ctx context.Context, question []byte) ([]byte, error) {
	var q struct {
		Instance string `json:"instance"`
		Text     bool   `json:"text"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	listing, err := w.labs.list(ctx)
	if err != nil {
		return nil, err
	}
	if q.Instance != "" {
		return w.instance(ctx, listing, q.Instance, q.Text)
	}
	labs, err := listing.JSON()
	if err != nil {
		return nil, err
	}
	answer := statusAnswer{Found: len(listing.Entries()) > 0}
	if q.Text {
		answer.Text = listing.Text()
	} else {
		answer.Labs = labs
	}
	return json.Marshal(answer)
}

// instance answers for one lab. Its snapshot, which is code, is read with the rights of its owner.
func (w *Worker) instance(ctx context.Context, listing *inventory.Listing, key string, text bool) ([]byte, error) {
	lab, ok := listing.Lab(key)
	if !ok || lab.StatusFile == "" {
		return json.Marshal(statusAnswer{})
	}
	netlab, err := w.netlab.get(ctx)
	if err != nil {
		return nil, err
	}
	who, err := w.ownerOf(lab)
	if err != nil {
		return nil, err
	}
	_, err = looked(ctx, w.looks, lab.Dir, func() (struct{}, error) { return struct{}{}, checkOwner(lab.Dir, who) })
	if err != nil {
		return nil, fmt.Errorf("lab %s in %s: %w", key, lab.Dir, err)
	}
	output, err := netlab.Status(ctx, exec.StatusQuery{
		Instance:   lab.Instance,
		Text:       text,
		StatusFile: lab.StatusFile,
		User:       who.Credential(),
		Env:        netlab.Environment(exec.Surroundings{User: who.Name, Home: who.Home, Workdir: "/", Path: w.path()}),
	})
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return json.Marshal(statusAnswer{})
	case err != nil:
		return nil, err
	case text:
		return json.Marshal(statusAnswer{Found: true, Text: string(output)})
	default:
		return json.Marshal(statusAnswer{Found: true, Labs: output})
	}
}

// ownerOf is whose lab it is. One that root has started by hand is root's to show.
func (w *Worker) ownerOf(lab *inventory.Lab) (*account.Account, error) {
	if os.Geteuid() != 0 {
		return account.Self()
	}
	uid, err := account.OwnerOf(lab.StatusFile)
	if err != nil {
		return nil, err
	}
	if uid == os.Geteuid() {
		if w.ranByHand(uid) {
			if err := onlyRoots(filepath.Join(lab.Dir, inventory.SnapshotFile)); err != nil {
				return nil, fmt.Errorf("lab %s was started by root, and its snapshot, which is code, is not run as root: %w; "+
					"take the lab down and start it as the owner of its directory", lab.Key, err)
			}
		}
		return account.Self()
	}
	return account.ByID(uid)
}

// ranByHand says that the user, root, is none as whom this worker runs jobs.
func (w *Worker) ranByHand(uid int) bool {
	return uid == 0 && os.Geteuid() == 0 && (w.runAs == nil || w.runAs.UID != uid)
}

// checkOwner returns an error where a lab's directory or its snapshot, which is code, belongs to neither the user whose status
// file lists the lab nor root: an entry may be older than what is there.
func checkOwner(dir string, who *account.Account) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, path := range []string{dir, filepath.Join(dir, inventory.SnapshotFile)} {
		var stat unix.Stat_t
		err := unix.Stat(path, &stat)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case int(stat.Uid) != who.UID && stat.Uid != 0:
			return fmt.Errorf("by its status entry the lab is %s's, and what is there belongs to another user: remove the entry with a destroy job of %s's, or give the directory back",
				who.Name, who.Name)
		}
	}
	return nil
}

// onlyRoots returns an error where somebody else than root could have made what is at the path.
func onlyRoots(path string) error {
	for at := path; ; at = filepath.Dir(at) {
		var stat unix.Stat_t
		err := unix.Lstat(at, &stat)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("%s: %w", at, err)
		case stat.Uid != 0:
			return fmt.Errorf("%s does not belong to root", at)
		case stat.Mode&0o022 != 0 && stat.Mode&unix.S_ISVTX == 0, stat.Mode&unix.S_IFMT == unix.S_IFLNK:
			return fmt.Errorf("others can change %s", at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// template is a topology below the template root.
type template struct {
	Name string `json:"name"`
	// Path is relative to the directory asked for.
	Path string `json:"path"`
}

// templates answers {"dir"}, relative to the template root, with {"templates"}: the directory's YAML files by name.
func (w *Worker) templates(_ context.Context, question []byte) ([]byte, error) {
	var q struct {
		Dir string `json:"dir"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if w.config.Templates == "" {
		return nil, errors.New("this host has no template root; set NETLAB_WORKER_TEMPLATES")
	}
	root, err := os.OpenRoot(w.config.Templates)
	if err != nil {
		return nil, fmt.Errorf("templates: %w; see NETLAB_WORKER_TEMPLATES", err)
	}
	defer func() { _ = root.Close() }()
	// Through the root: a symlink that leads out of it is an error, not a way out.
	dir := filepath.ToSlash(filepath.Clean("./" + q.Dir))
	var entries []fs.DirEntry
	folder, err := openDir(root, dir)
	if err == nil {
		defer func() { _ = folder.Close() }()
		entries, err = folder.ReadDir(-1)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("templates: dir %q: %w; name a directory below the host's template root", q.Dir, err)
	}
	list := []template{}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".yml") && !strings.HasSuffix(name, ".yaml") {
			continue
		}
		// A link to a file of the root's is a template, one that leads out of it is not.
		if info, err := root.Stat(path.Join(dir, name)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		list = append(list, template{Name: name, Path: name})
	}
	slices.SortFunc(list, func(a, b template) int { return strings.Compare(a.Name, b.Name) })
	return json.Marshal(map[string]any{"templates": list})
}

// path is the PATH of a job behind Netlab's own folder.
func (w *Worker) path() string {
	return strings.Join(append(slices.Clone(w.config.Path), exec.SystemPath), ":")
}
