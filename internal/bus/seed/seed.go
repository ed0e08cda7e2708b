// Package seed keeps the seeds of keys in files.
package seed

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/nats-io/nkeys"

	"netlab-runner/internal/durable"
)

// LoadOrMake returns the seed in file, which it makes on first use, with that behind it. A file that is empty is as none: a full disk
// or a power cut has left one of a release that did not write it whole.
func LoadOrMake(file string, create func() (nkeys.KeyPair, error), behind string) ([]byte, error) {
	seed, err := os.ReadFile(file)
	if len(seed) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return seed, err
	}
	pair, err := create()
	if err != nil {
		return nil, err
	}
	if seed, err = pair.Seed(); err != nil {
		return nil, err
	}
	return seed, durable.Write(file, append(slices.Clone(seed), behind...))
}
