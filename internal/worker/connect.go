package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"netlab-runner/internal/exec"
	"netlab-runner/internal/jobs"
)

// shown is the answer to a show command. Error says why the exit code is not 0.
type shown struct {
	Log      string `json:"log"`
	ExitCode int    `json:"exitCode"`
	Error    string `json:"error,omitempty"`
}

// connect answers {"node","show","instance","workdir","user"} with {"log","exitCode","error"}: what a show command says on a
// node of a running lab. It is asked as the lab's owner.
func (w *Worker) connect(ctx context.Context, question []byte) ([]byte, error) {
	var q jobs.Connect
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return w.visit(ctx, w.connecting, &q.Lab, func(ctx context.Context, s *site) (any, error) { return w.show(ctx, s, &q) })
}

func (w *Worker) show(ctx context.Context, s *site, q *jobs.Connect) (*shown, error) {
	if why := notRunning(s); why != "" {
		return nil, noAnswerf(http.StatusConflict, "the lab in %s does not run (%s): start it first (up)", s.dir, why)
	}
	netlab, err := w.netlab.get(ctx)
	if err != nil {
		return nil, err
	}
	out, err := netlab.Connect(ctx, exec.Show{Setting: w.setting(netlab, s), Node: q.Node, Words: q.Show})
	if err != nil {
		return nil, err
	}
	answer := &shown{Log: out.Log, ExitCode: out.ExitCode}
	switch {
	case out.ExitCode < 0:
		answer.Error = "the output is too long, the command was ended: see the end of the log"
	case out.ExitCode > 0:
		answer.Error = fmt.Sprintf("the show command ended with exit code %d: see the log", out.ExitCode)
	}
	return answer, nil
}

// notRunning says why a node of the lab cannot be reached, "" where it may be.
func notRunning(s *site) string {
	switch {
	case s.lab == nil:
		return "there is neither a status entry nor a container of it"
	case s.lab.Ghost, s.lab.Gone:
		return "nothing but its status entry is left"
	case s.lab.Total > 0 && s.lab.Running == 0:
		return "none of its containers runs"
	}
	return ""
}
