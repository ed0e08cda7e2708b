package exec

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sudoPatience bounds a call of sudo, which may ask a server whether it is allowed.
const sudoPatience = time.Second

// sudoKill has root signal the processes, where a sudo in one of the folders lets us without a password. That it fails is no
// error: who is left shows at the end.
func (s *stopping) sudoKill(ctx context.Context, signal unix.Signal, processes []process) {
	sudo := findProgram(s.sudo, "sudo")
	if sudo == "" {
		return
	}
	args := []string{"-n", "kill", "-" + strings.TrimPrefix(unix.SignalName(signal), "SIG")}
	for _, q := range processes {
		// What has its number by now must not be hit; between this and the signal there is nothing that could prevent it.
		if again, err := readProcess(q.pid); err == nil && again.start == q.start && !again.gone() {
			args = append(args, strconv.Itoa(q.pid))
		}
	}
	if len(args) == 3 {
		return
	}
	// Not cut short by a step's grace, which may be zero.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sudoPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, sudo, args...)
	cmd.Env = []string{"PATH=" + s.sudo, "LANG=C"}
	cmd.Dir = "/"
	if _ = cmd.Run(); ctx.Err() != nil {
		s.sudo = "" // once is enough for one that hangs
	}
}

// findProgram returns the path of the program in the first of the folders that has it, "" where none has.
func findProgram(folders, name string) string {
	for _, folder := range filepath.SplitList(folders) {
		path := filepath.Join(folder, name)
		if !filepath.IsAbs(path) {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
