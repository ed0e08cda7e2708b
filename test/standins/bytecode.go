package standins

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// bytecode is the stand-ins' modules as Python compiles them. Every call of every test would do that again.
type bytecode struct {
	once  sync.Once
	files map[string][]byte // by path below bin
	err   error
}

//nolint:gochecknoglobals // made once a test binary
var compiled bytecode

// of returns the compiled modules of the programs in bin, by the first caller's interpreter. They fit every copy: Python takes
// them as they are, whatever the times of the sources.
func (b *bytecode) of(python, bin string) (map[string][]byte, error) {
	b.once.Do(func() {
		cmd := exec.Command(python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", filepath.Join(bin, "standin"))
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%w: %s", err, out)
			return
		}
		b.files = map[string][]byte{}
		folder := filepath.Join("standin", "__pycache__")
		entries, err := os.ReadDir(filepath.Join(bin, folder))
		for _, entry := range entries {
			name := filepath.Join(folder, entry.Name())
			if b.files[name], err = os.ReadFile(filepath.Join(bin, name)); err != nil {
				break
			}
		}
		b.err = err
	})
	return b.files, b.err
}

// lay writes the compiled modules into a copy of the programs.
func (s *Standins) lay(files map[string][]byte) error {
	for name, text := range files {
		target := filepath.Join(s.Path(), name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := WriteProgram(target, text, fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}
