package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"netlab-runner/internal/durable"
)

// errCut is an output that is shorter, or other, than what was read of it already. A script that writes `> /dev/stderr` opens
// the output by its name, and so truncates it.
var errCut = errors.New("the output was cut")

// source reads an output file from its beginning while it grows.
type source struct {
	file *os.File
	pos  int64
	// last are the bytes before pos, by which a file that was cut and has grown again is told.
	last []byte
}

// compared is how many bytes before the position are compared.
const compared = 64

// read reads on. io.EOF: there is no more for now. errCut: what was read is not there any more.
func (s *source) read(block []byte) (int, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	unchanged := info.Size() >= s.pos
	if unchanged {
		if unchanged, err = s.unchanged(); err != nil {
			return 0, err
		}
	}
	if !unchanged {
		return 0, errCut
	}
	n, err := s.file.ReadAt(block, s.pos)
	s.pos += int64(n)
	s.last = append(s.last, block[:n]...)
	s.last = append(s.last[:0], s.last[max(0, len(s.last)-compared):]...)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (s *source) unchanged() (bool, error) {
	now := make([]byte, len(s.last))
	if _, err := s.file.ReadAt(now, s.pos-int64(len(s.last))); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.Equal(now, s.last), nil
}

// restart begins with the file as it is now.
func (s *source) restart() { s.pos, s.last = 0, nil }

// jump goes on at a later position.
func (s *source) jump(pos int64) { s.pos, s.last = pos, nil }

// Files beside the output that hold an offset in the log.
const (
	// baseSuffix is of the output's first byte, where that is not 0.
	baseSuffix = ".base"
	// cutSuffix is of where the log was cut off, because the bus had no room for more.
	cutSuffix = ".cut"
)

// errOffset is such a file that does not hold an offset.
var errOffset = errors.New("where the log stands cannot be told")

// loadOffset returns the offset of a file beside the output, or what it is where there is none.
func loadOffset(file string, none int64) (int64, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return 0, err
	}
	offset, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || offset < 0 {
		return 0, fmt.Errorf("%w: %s holds %.40q", errOffset, file, text)
	}
	return offset, nil
}

func saveOffset(file string, offset int64) error {
	return durable.Write(file, []byte(strconv.FormatInt(offset, 10)+"\n"))
}
