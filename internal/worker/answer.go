package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netlab-runner/internal/exec"
)

// endpoints are what the API may ask this host over the bus.
func (w *Worker) endpoints() map[string]func(context.Context, []byte) ([]byte, error) {
	return map[string]func(context.Context, []byte) ([]byte, error){
		"status":    w.status,
		"templates": w.templates,
	}
}

// status answers {"instance","text"} with {"found","labs"|"text"}: what `netlab status --all` or `-i` says.
func (w *Worker) status(ctx context.Context, question []byte) ([]byte, error) {
	var q struct {
		Instance string `json:"instance"`
		Text     bool   `json:"text"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	netlab, err := w.netlab.get(ctx)
	if err != nil {
		return nil, err
	}
	who, err := whoami()
	if err != nil {
		return nil, err
	}
	output, err := netlab.Status(ctx, exec.StatusQuery{
		Instance: q.Instance,
		Text:     q.Text,
		Env:      netlab.Environment(exec.Surroundings{User: who.name, Home: who.home, Workdir: "/", Path: w.path()}),
	})
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		return nil, err
	}
	answer := struct {
		Found bool            `json:"found"`
		Labs  json.RawMessage `json:"labs,omitempty"`
		Text  string          `json:"text,omitempty"`
	}{Found: err == nil}
	if q.Text {
		answer.Text = string(output)
	} else {
		answer.Labs = output
	}
	return json.Marshal(answer)
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
	entries, err := fs.ReadDir(root.FS(), filepath.ToSlash(filepath.Clean("./"+q.Dir)))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("templates: dir %q: %w", q.Dir, err)
	}
	list := []template{}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && (strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")) {
			list = append(list, template{Name: name, Path: name})
		}
	}
	slices.SortFunc(list, func(a, b template) int { return strings.Compare(a.Name, b.Name) })
	return json.Marshal(map[string]any{"templates": list})
}

// path is the PATH of a job behind Netlab's own folder.
func (w *Worker) path() string {
	return strings.Join(append(slices.Clone(w.config.Path), exec.SystemPath), ":")
}
