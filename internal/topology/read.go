package topology

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// MaxBytes bounds a snapshot. One of 50 nodes has about one megabyte, most of it Netlab's own defaults.
	MaxBytes = 8 << 20
	// maxParts bounds what a snapshot is made of, and so the memory that it takes to read one: a list of nothing needs a
	// hundred times its text.
	maxParts = 800_000
	// maxText bounds the text in it with every alias written out, in bytes: what is read is not much more than what was sent.
	maxText = 2 * MaxBytes
)

// Read reads a snapshot. Its error says what is wrong with it, and shows nothing of it.
func Read(content []byte) (*Topology, error) {
	if len(content) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(content), MaxBytes)
	}
	parts := 0
	for _, c := range []byte(",\n[{-?:&*") {
		parts += bytes.Count(content, []byte{c})
	}
	if parts > maxParts {
		return nil, fmt.Errorf("it has more than %d parts", maxParts)
	}
	var s snapshot
	if err := unmarshal(content, &s); err != nil {
		return nil, err
	}
	return s.topology()
}

// unmarshal keeps what the library makes of hostile text from its caller.
func unmarshal(content []byte, s *snapshot) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it cannot be read as YAML")
		}
	}()
	var document yaml.Node
	if err = yaml.Unmarshal(content, &document); err == nil {
		if err := (&scale{weights: map[*yaml.Node]weight{}}).check(&document); err != nil {
			return err
		}
		err = document.Decode(s)
	}
	var types *yaml.TypeError
	switch {
	case errors.As(err, &types):
		return errors.New("it is not what Netlab writes: " + place(types.Errors[0]))
	case err != nil:
		return errors.New("it is not YAML: " + place(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	return nil
}

// place is where in the text an error of the library's is: behind it stands what is there.
func place(text string) string {
	where, _, ok := strings.Cut(text, ":")
	if ok && strings.HasPrefix(where, "line ") {
		return where
	}
	return "it cannot be read"
}
