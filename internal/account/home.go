package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// netlabDir is the directory in a home that every command of Netlab writes to.
const netlabDir = ".netlab"

// CheckHome returns an error unless the account's home is a directory in which the account can write: every command of Netlab
// does, in ~/.netlab.
func (a *Account) CheckHome() error {
	if !filepath.IsAbs(a.Home) {
		return fmt.Errorf("user %s has no home directory (%q), which Netlab needs: give the user one (usermod -d)", a.Name, a.Home)
	}
	return a.Do(func() error {
		info, err := os.Stat(a.Home)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("user %s has no home directory: there is no %s, make it and give it to the user (mkhomedir_helper %s)", a.Name, a.Home, a.Name)
		case err != nil:
			return fmt.Errorf("user %s cannot use the home directory %s: %w; open it to the user", a.Name, a.Home, err)
		case !info.IsDir():
			return fmt.Errorf("the home of user %s, %s, is not a directory: make one of it", a.Name, a.Home)
		}
		dir := filepath.Join(a.Home, netlabDir)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			dir = a.Home
		}
		// Only a file that was made shows what rights, quotas, and mounts allow.
		file, err := os.CreateTemp(dir, ".netlab-runner-*")
		if err != nil {
			return fmt.Errorf("user %s cannot write in %s, which Netlab needs: %w; give it to the user (chown), with room for files", a.Name, dir, err)
		}
		return errors.Join(file.Close(), os.Remove(file.Name()))
	})
}
