package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
)

// newLogDocument returns a reader of {"log","offset","state"} with the log's text from offset on to its present end, and
// the number of its bytes. The document is made while it is read, block by block.
func newLogDocument(log *logfile.Log, offset int64, state jobs.State) (document io.Reader, size int64, err error) {
	end := max(log.Size(), offset)
	from := max(end-utf8.UTFMax, offset)
	// The end may be inside of a rune whose rest is to come.
	tail, _, err := readWhole(log, make([]byte, end-from), from)
	if err != nil {
		return nil, 0, err
	}
	end = from + int64(len(tail))
	return io.MultiReader(
		strings.NewReader(`{"log":"`),
		&quoted{log: log, offset: offset, end: end},
		strings.NewReader(fmt.Sprintf("\",\"offset\":%d,\"state\":%q}\n", end, state)),
	), end - offset, nil
}

// quoted reads a part of a log as the inside of a JSON string.
type quoted struct {
	log         *logfile.Log
	offset, end int64
	ready       []byte
	block       [8 << 10]byte
}

func (q *quoted) Read(p []byte) (int, error) {
	if len(q.ready) == 0 {
		if q.offset == q.end {
			return 0, io.EOF
		}
		block, _, err := readWhole(q.log, q.block[:min(int64(len(q.block)), q.end-q.offset)], q.offset)
		if err != nil {
			return 0, err
		}
		if len(block) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		q.offset += int64(len(block))
		text, err := encode(string(block))
		if err != nil {
			return 0, err
		}
		q.ready = text[1 : len(text)-2] // without the quotes and the line end
	}
	n := copy(p, q.ready)
	q.ready = q.ready[n:]
	return n, nil
}

// readWhole reads into p what the log has from offset on. Of the n bytes that it read, a rune at the end that is not whole is
// left out.
func readWhole(log *logfile.Log, p []byte, offset int64) (whole []byte, n int, err error) {
	n, err = log.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	p = p[:n]
	for i := 1; i < utf8.UTFMax && i <= n; i++ {
		if last := p[n-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				p = p[:n-i]
			}
			break
		}
	}
	return p, n, nil
}
