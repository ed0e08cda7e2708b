package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// maxGraphLog bounds what Netlab prints while it makes a graph, in bytes.
const maxGraphLog = 1 << 20

// GraphQuery asks for a lab's graph.
type GraphQuery struct {
	Setting
	// Topology is relative to the directory, and is transformed anew. Empty: the lab's snapshot.
	Topology string
	// SnapshotOnly refuses a topology that the snapshot was not made of: to transform it runs code of whoever wrote it.
	SnapshotOnly bool
	// Type is Netlab's: "topology", "bgp" or "isis".
	Type string
}

// Graph returns the graph as Netlab describes it in Graphviz's language: that of the lab's users, with whatever they wrote in
// it. Errors: *RefusedError, *HungError when ctx ends, which needs a deadline.
func (n *Netlab) Graph(ctx context.Context, q GraphQuery) (string, error) {
	scratch, err := os.MkdirTemp("", "netlab-graph-")
	if err != nil {
		return "", fmt.Errorf("making a graph: %w", err)
	}
	defer os.RemoveAll(scratch)
	if q.User != nil {
		if err := os.Chown(scratch, int(q.User.Uid), int(q.User.Gid)); err != nil {
			return "", fmt.Errorf("making a graph: %w", err)
		}
	}
	q.Env = append(q.Env[:len(q.Env):len(q.Env)], "TMPDIR="+scratch)
	question := map[string]any{"verb": "graph", "topology": q.Topology, "snapshotOnly": q.SnapshotOnly, "type": q.Type}
	a, _, cut, err := n.ask(ctx, &q.Setting, question, maxGraphLog)
	switch {
	case err != nil:
		return "", err
	case cut || a.Dot == nil:
		return "", errors.New("making a graph: Netlab printed too much and made none")
	}
	return *a.Dot, nil
}
