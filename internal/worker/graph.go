package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/inventory"
	"netlab-runner/internal/jobs"
)

// drawn is a graph as SVG, in base 64 as JSON, and where it was stored: relative to the working directory, empty where it could
// not be.
type drawn struct {
	SVG        []byte `json:"svgBase64"`
	OutputPath string `json:"outputPath"`
}

// graph answers {"instance","workdir","topologyPath","type","user"} with {"svgBase64","outputPath"}: a lab, or a topology, as
// Netlab draws it. The picture is stored in the working directory, too, with the rights of the lab's owner.
func (w *Worker) graph(ctx context.Context, question []byte) ([]byte, error) {
	var q jobs.Graph
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	return w.visit(ctx, w.drawing, &q.Lab, func(ctx context.Context, s *site) (any, error) { return w.draw(ctx, s, &q) })
}

func (w *Worker) draw(ctx context.Context, s *site, q *jobs.Graph) (*drawn, error) {
	topology, err := looked(ctx, w.looks, s.dir, func() (string, error) { return s.topology(q.TopologyPath) })
	if err != nil {
		return nil, err
	}
	netlab, err := w.netlab.get(ctx)
	if err != nil {
		return nil, err
	}
	description, err := netlab.Graph(ctx, exec.GraphQuery{
		Setting: w.setting(netlab, s), Topology: topology, SnapshotOnly: w.ranByHand(s.who.UID), Type: q.Type,
	})
	if err != nil {
		return nil, err
	}
	answer := &drawn{}
	if answer.SVG, err = w.renderer.render(ctx, description, s.who.Credential()); err != nil {
		return nil, err
	}
	name := "netlab.graph.svg"
	if q.Type != jobs.TopologyGraph {
		name = "netlab.graph-" + q.Type + ".svg"
	}
	if err := w.keepGraph(ctx, s, name, answer.SVG); err != nil {
		w.log.Info("a graph is not stored", "directory", s.dir, "error", err)
		return answer, nil
	}
	answer.OutputPath = name
	return answer, nil
}

// topology is what the graph is made of, relative to the site's directory; empty: the lab's snapshot.
func (s *site) topology(path string) (topology string, err error) {
	err = s.who.Do(func() error {
		dir, err := s.root.OpenRoot(s.rel)
		if err != nil {
			return invalid("workdir", "%s cannot be opened by %s: %v", s.dir, s.who.Name, err)
		}
		defer func() { _ = dir.Close() }()
		if path == "" {
			if _, err := dir.Lstat(inventory.SnapshotFile); !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		}
		topology, err = findTopology(dir, s.dir, &jobs.Job{Request: jobs.Request{TopologyPath: path}})
		return err
	})
	return topology, err
}

// keepGraph stores a file in the site's directory: the one that was looked at, not what may be at its path by now.
func (w *Worker) keepGraph(ctx context.Context, s *site, name string, content []byte) error {
	// A descriptor of its own: the site is closed when the question ends, and a look may go on.
	fd, err := unix.FcntlInt(s.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	place, who, path := os.NewFile(uintptr(fd), s.dir), s.who, filepath.Join(s.dir, name)
	_, err = looked(ctx, w.looks, s.dir, func() (struct{}, error) {
		defer place.Close()
		if _, busy := w.keeping.LoadOrStore(path, true); busy {
			return struct{}{}, nil // whoever is at it stores the same picture
		}
		defer w.keeping.Delete(path)
		return struct{}{}, who.Do(func() error {
			dir, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
			if err != nil {
				return err
			}
			defer func() { _ = dir.Close() }()
			return replace(dir, name, content)
		})
	})
	return err
}
