package worker

import (
	"fmt"
	"os"
	"os/user"
)

// account is whom Netlab runs as.
type account struct{ name, home string }

// whoami is the worker's own account. Its home is HOME, as for a Netlab that is started by hand.
func whoami() (account, error) {
	me, err := user.Current()
	if err != nil {
		return account{}, fmt.Errorf("the worker's own user: %w", err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = me.HomeDir
	}
	return account{name: me.Username, home: home}, nil
}
