package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"netlab-runner/internal/exec"
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
	answer, err := w.draw(ctx, &q)
	return w.answerOf(err, answer)
}

func (w *Worker) draw(ctx context.Context, q *jobs.Graph) (*drawn, error) {
	leave, err := enter(w.drawing)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := hurry(ctx)
	defer cancel()
	s, err := w.find(ctx, &q.Lab)
	if err != nil {
		return nil, err
	}
	defer s.close()
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
	if answer.SVG, err = w.render(ctx, description, s.who.Credential()); err != nil {
		return nil, err
	}
	name := "netlab.graph.svg"
	if q.Type != jobs.TopologyGraph {
		name = "netlab.graph-" + q.Type + ".svg"
	}
	_, err = looked(ctx, w.looks, s.dir, func() (struct{}, error) { return struct{}{}, w.keepGraph(s, name, answer.SVG) })
	if err != nil {
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
			if _, err := dir.Lstat(snapshotFile); !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		}
		topology, err = findTopology(dir, s.dir, &jobs.Job{Request: jobs.Request{TopologyPath: path}}, &material{})
		return err
	})
	return topology, err
}

// keepGraph stores a file in the site's directory.
func (w *Worker) keepGraph(s *site, name string, content []byte) error {
	path := filepath.Join(s.dir, name)
	if _, busy := w.keeping.LoadOrStore(path, true); busy {
		return nil // whoever is at it stores the same picture
	}
	defer w.keeping.Delete(path)
	return s.who.Do(func() error {
		// The directory that was looked at, not what may be at its path by now.
		dir, err := os.OpenRoot(filepath.Join("/proc/self/fd", fmt.Sprint(s.file.Fd())))
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }()
		return replace(dir, name, content)
	})
}
