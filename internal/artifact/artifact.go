// Package artifact has what a host and the API agree on about the files of a job: how they are named, asked for, told apart
// and typed. The files themselves are read by internal/worker and served by internal/api.
package artifact

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// PieceSize is how much of a file one answer of a host has at most. Two questions are enough for a lab's usual files.
	PieceSize = 512 << 10

	// As in Linux.
	maxPath    = 4096
	maxElement = 255
)

// File is a regular file below a job's working directory.
type File struct {
	// Path is relative to the working directory.
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	// ModifiedAt is in whole seconds of UTC.
	ModifiedAt time.Time `json:"modifiedAt"`
	// Type is the media type, by the name alone.
	Type string `json:"type"`
	// Kept says that the file is a copy in the object store, as the job left it.
	Kept bool `json:"kept"`
}

// Place is where a host is to look, and with whose rights.
type Place struct {
	// Workdir is the working directory as the job has it.
	Workdir string `json:"workdir"`
	// User is the job's user; empty: the owner of the directory.
	User string `json:"user"`
}

// List is a host's answer to a Place.
type List struct {
	// Files are sorted by path.
	Files []File `json:"files"`
	// Truncated says that there are more, which a bound left out.
	Truncated bool `json:"truncated"`
	// Denied says why none may be listed; empty: they may.
	Denied string `json:"denied,omitempty"`
}

// Status is what came of a question for a piece.
type Status string

// The statuses.
const (
	// Found is a piece of the file that was asked for.
	Found Status = "found"
	// Gone is no regular file of that path.
	Gone Status = "gone"
	// Changed is another file than the one that was expected.
	Changed Status = "changed"
	// Denied is a file, or a place, that may not be read; Text says why.
	Denied Status = "denied"
)

// Question asks for a piece of a file.
type Question struct {
	Place
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	// Length is 0 to PieceSize; the piece is shorter at the file's end.
	Length int `json:"length"`
	// ETag is the file that is expected; empty: whichever is there.
	ETag string `json:"etag,omitempty"`
}

// Head says what a piece is of.
type Head struct {
	Status Status `json:"status"`
	Text   string `json:"text,omitempty"`
	// ETag is the same as long as the file is the same, and no other's. It is without quotes.
	ETag     string    `json:"etag,omitempty"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

// Clean returns a path below a working directory in its shortest form. Its error has the words behind "path: ".
func Clean(p string) (string, error) {
	switch {
	case p == "":
		return "", errors.New("is missing: name a file with ?path=, as the list of the job's artifacts has it")
	case !utf8.ValidString(p):
		return "", errors.New("is not valid UTF-8")
	case strings.ContainsRune(p, 0):
		return "", errors.New("has a null byte in it, which no path has")
	case strings.HasPrefix(p, "/"):
		return "", errors.New("is absolute: give it relative to the job's working directory")
	case len(p) > maxPath:
		return "", fmt.Errorf("is longer than %d bytes, which no path is", maxPath)
	}
	for element := range strings.SplitSeq(p, "/") {
		switch {
		case element == "..":
			return "", errors.New("has a '..' in it: write it without")
		case len(element) > maxElement:
			return "", fmt.Errorf("has a name of more than %d bytes in it, which no file has", maxElement)
		}
	}
	if p = path.Clean(p); p == "." {
		return "", errors.New("is the working directory itself: name a file in it")
	}
	return p, nil
}
