package exec

import (
	"context"
	"fmt"
	"syscall"
)

// Forget removes the entries of a directory, in which nothing is left of a lab, from somebody's status file. It runs as the
// user, whose file it is; nil: as this process.
func (n *Netlab) Forget(ctx context.Context, dir, statusFile string, user *syscall.Credential, env []string) error {
	cmd := n.commandAs(ctx, user, env, "forget", dir, statusFile)
	stderr := &bounded{limit: maxStatus}
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("removing the entry of %s from %s: %w: %s", dir, statusFile, err, lastLine(stderr.Bytes()))
	}
	return nil
}
