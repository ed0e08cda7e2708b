// Package bundle unpacks a lab's files that came as one tar.gz or zip. The archive is a stranger's: it is read as a whole
// before a byte is written, and every trick that archives know is a *Refusal.
//
// What is in the archive lands in the working directory as it stands there: a single folder around everything is kept, not
// stripped. Only regular files and directories are taken, with modes 0755 and 0644 and the time of unpacking; owners, links
// and special files are not.
package bundle

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Limits are what a bundle may grow to. Every one must be set; DefaultLimits has sensible ones.
type Limits struct {
	// Files is how many files and directories there may be, those named only as part of a path included.
	Files int
	// Bytes is how large everything may be together, File how large one file, both unpacked.
	Bytes, File int64
	// Ratio is how many times the packed size the unpacked one may be. The first MiB is free: a few files may be as repetitive
	// as they like.
	Ratio int
	// Depth is how many elements a path may have, Name how many bytes.
	Depth, Name int
}

// DefaultLimits are wide for a lab and narrow for a bomb: 10,000 files, 256 MiB of which 64 MiB in one file, 200 times the
// packed size, 16 elements and 1,024 bytes a path.
var DefaultLimits = Limits{Files: 10_000, Bytes: 256 << 20, File: 64 << 20, Ratio: 200, Depth: 16, Name: 1024} //nolint:gochecknoglobals // a table that is never written

// freeBytes may be unpacked whatever the ratio.
const freeBytes = 1 << 20

// Refusal is a bundle that is not unpacked. It is the sender's to mend.
type Refusal struct {
	// Entry is the path of the file or directory that is at fault, cut short and with escapes for what cannot be shown;
	// empty where it is the bundle as a whole.
	Entry string
	// Text says what is wrong with it and what to do.
	Text string
}

func (e *Refusal) Error() string {
	if e.Entry == "" {
		return e.Text
	}
	return e.Entry + " " + e.Text
}

func refuse(name, format string, args ...any) *Refusal {
	r := &Refusal{Text: fmt.Sprintf(format, args...)}
	if name != "" {
		r.Entry = shown(name)
	}
	return r
}

// shown makes a name of the archive's fit for an error: quoted, cut short, and nothing in it that moves a cursor.
func shown(name string) string {
	const most = 120
	if len(name) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(name[:most], ""))
	}
	return fmt.Sprintf("%q", name)
}

// Check reads the whole bundle and writes nothing. Its error is a *Refusal.
func Check(data []byte, l Limits) error {
	_, err := scan(data, l)
	return err
}

// entry is a file or directory of a bundle whose name was checked.
type entry struct {
	// path is relative and clean.
	path       string
	dir        bool
	executable bool
}

// visitor takes the entries of a bundle in their order. content is nil for a directory; what is not read of it is skipped.
type visitor func(e entry, content io.Reader) error

// Problem says by its first bytes why data is no bundle at all, and the remedy; empty: it may be one.
func Problem(data []byte) string {
	switch {
	case len(data) == 0:
		return "is empty: send a tar.gz or zip of the lab's files"
	case isTar(data), isZip(data):
		return ""
	default:
		return "is neither a tar.gz nor a zip: pack it with `tar -czf` or `zip -r`"
	}
}

func isTar(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

func isZip(data []byte) bool {
	return bytes.HasPrefix(data, []byte("PK\x03\x04")) || bytes.HasPrefix(data, []byte("PK\x05\x06"))
}

// read goes through the bundle.
func read(data []byte, l Limits, visit visitor) error {
	if problem := Problem(data); problem != "" {
		return refuse("", "the bundle %s", problem)
	}
	if isTar(data) {
		return readTar(data, l, visit)
	}
	return readZip(data, l, visit)
}
