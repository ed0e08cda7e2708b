package exec

import (
	"context"
	"fmt"
	"strings"
)

// maxShown bounds the output of a show command, in bytes.
const maxShown = 1 << 20

// Show is a show command for a node of a lab.
type Show struct {
	Setting
	Node string
	// Words are the show command without "show", such as {"ip", "route"}.
	Words []string
}

// Shown is what it printed.
type Shown struct {
	// Log is standard output and standard error as they came, valid UTF-8 of at most 1 MiB and the mark that says so.
	Log string
	// ExitCode is that of the show command; -1 where the output was cut.
	ExitCode int
}

// Connect runs the command as `netlab connect <node> --show <words>` does: by docker exec or ssh. Errors: *RefusedError,
// *HungError when ctx ends, which needs a deadline.
func (n *Netlab) Connect(ctx context.Context, s Show) (Shown, error) {
	question := map[string]any{"verb": "connect", "node": s.Node, "show": s.Words}
	a, log, cut, err := n.ask(ctx, &s.Setting, question, maxShown)
	if err != nil {
		return Shown{}, err
	}
	text := strings.ToValidUTF8(string(log), "\uFFFD")
	switch {
	case cut:
		return Shown{Log: text + fmt.Sprintf("\n[the output is cut here: it has more than %d bytes]\n", maxShown), ExitCode: -1}, nil
	case a.ExitCode == nil:
		return Shown{}, fmt.Errorf("asking Netlab: its answer has no exit code")
	}
	return Shown{Log: text, ExitCode: *a.ExitCode}, nil
}
