package exec_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/exec"
	samples "netlab-runner/test/labs"
	"netlab-runner/test/standins"
)

// connectPatience bounds a question to a lab in these tests.
const connectPatience = 60 * time.Second

// frr3 is a running lab of three routers.
func frr3(t *testing.T) *clabLab {
	t.Helper()
	l := clab(t, nil)
	samples.Copy(t, "frr3", l.workdir)
	l.must(t, "up")
	return l
}

// setting is how a question about the lab is asked.
func (b *bundle) setting(t *testing.T) exec.Setting {
	t.Helper()
	return exec.Setting{Place: b.place(t), Env: b.env(nil)}
}

func (b *bundle) show(t *testing.T, patience time.Duration, node string, words ...string) (exec.Shown, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), patience)
	defer cancel()
	return b.Connect(ctx, exec.Show{Setting: b.setting(t), Node: node, Words: words})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	l := frr3(t)
	text := "Codes: K - kernel route\nO>* 10.0.0.2/32 \xff via 10.1.0.2\n"
	l.host.SetKnob("docker exec", standins.Knob{Match: "show ip route", Stdout: &text})
	before := snapshotOf(t, l.workdir, l.statusFile)
	shown, err := l.show(t, connectPatience, "r1", "ip", "route")
	if err != nil || shown.ExitCode != 0 || shown.Log != strings.ToValidUTF8(text, "\uFFFD") {
		t.Errorf("%+v, %v", shown, err)
	}
	calls := l.host.Calls("docker exec")
	if last := strings.Join(calls[len(calls)-1].Argv, "|"); !strings.HasSuffix(last, `clab-lab-r1|bash|-c|vtysh -c "show ip route"`) {
		t.Errorf("it ran %s", last)
	}

	l.host.SetKnob("docker exec", standins.Knob{Match: "show", Fail: 3, Stderr: "% Unknown command\n"})
	if shown, err = l.show(t, connectPatience, "r1", "nonsense"); err != nil || shown.ExitCode != 3 || shown.Log != "% Unknown command\n" {
		t.Errorf("%+v, %v", shown, err)
	}

	// Without an end: what there is is shown, and nobody goes on writing.
	l.host.SetKnob("docker exec", standins.Knob{Match: "show", Lines: 1 << 20})
	if shown, err = l.show(t, connectPatience, "r1", "log"); err != nil || shown.ExitCode != -1 || len(shown.Log) < 1<<20 || len(shown.Log) > 1<<20+200 {
		t.Errorf("%d bytes, exit code %d, %v", len(shown.Log), shown.ExitCode, err)
	}
	mustContain(t, shown.Log[len(shown.Log)-200:], "cut here")

	calls = l.host.Calls("docker exec")
	for _, refused := range []struct {
		node  string
		words []string
		kind  string
		says  string
	}{
		{"r9", []string{"version"}, "unknown", "r1, r2, r3"},
		{"-v", []string{"version"}, "unknown", "r1"},
	} {
		_, err := l.show(t, connectPatience, refused.node, refused.words...)
		var why *exec.RefusedError
		if !errors.As(err, &why) || why.Kind != refused.kind || !strings.Contains(why.Text, refused.says) {
			t.Errorf("%+v: %v", refused, err)
		}
	}
	if now := l.host.Calls("docker exec"); len(now) != len(calls) {
		t.Errorf("what was refused ran: %v", now[len(calls):])
	}
	if after := snapshotOf(t, l.workdir, l.statusFile); after != before {
		t.Errorf("the lab was changed:\n%s\nbefore:\n%s", after, before)
	}

	l.must(t, "destroy")
	var why *exec.RefusedError
	if _, err := l.show(t, connectPatience, "r1", "version"); !errors.As(err, &why) || why.Kind != "state" {
		t.Errorf("without a lab: %v", err)
	}
}

// A device that does not answer, and a program that ignores signals: nothing is left of either.
func TestConnectHangs(t *testing.T) {
	t.Parallel()
	l := frr3(t)
	l.host.SetKnob("docker exec", standins.Knob{Match: "show", Gate: "hang", Ignore: []string{"INT", "TERM", "HUP"}})
	for patience := 5 * time.Second; ; patience *= 2 { // a machine that is busy may need more to come so far
		begin := time.Now()
		_, err := l.show(t, patience, "r1", "version")
		var hung *exec.HungError
		if !errors.As(err, &hung) {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > patience+10*time.Second {
			t.Errorf("it took %s", took)
		}
		if strings.Contains(hung.Step, "node r1") {
			break
		}
		if patience > 30*time.Second {
			t.Fatal(err)
		}
	}
	calls := l.host.Calls("docker exec")
	if pid := calls[len(calls)-1].Pid; alive(pid) {
		t.Errorf("process %d is left", pid)
	}
}
