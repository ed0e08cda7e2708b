package api

import (
	"bytes"
	"encoding/json"
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
		newQuoted(log, offset, end),
		strings.NewReader(fmt.Sprintf("\",\"offset\":%d,\"state\":%q}\n", end, state)),
	), end - offset, nil
}

// quotedSize is how much of a log is made a JSON string at a time, in bytes of the log: the string may have six times as many.
const quotedSize = 16 << 10

// quoted reads a part of a log as the inside of a JSON string. Its buffers are used again for each piece of it.
type quoted struct {
	log         *logfile.Log
	offset, end int64

	block   []byte
	encoder *json.Encoder // into text
	text    bytes.Buffer
}

func newQuoted(log *logfile.Log, offset, end int64) *quoted {
	q := &quoted{log: log, offset: offset, end: end, block: make([]byte, min(quotedSize, end-offset))}
	q.encoder = jobs.NewEncoder(&q.text)
	return q
}

func (q *quoted) Read(p []byte) (int, error) {
	if q.text.Len() == 0 {
		if err := q.next(); err != nil {
			return 0, err
		}
	}
	return q.text.Read(p)
}

// next makes the next piece of the text.
func (q *quoted) next() error {
	if q.offset == q.end {
		return io.EOF
	}
	block, _, err := readWhole(q.log, q.block[:min(int64(len(q.block)), q.end-q.offset)], q.offset)
	if err != nil {
		return err
	}
	if len(block) == 0 {
		return io.ErrUnexpectedEOF
	}
	q.offset += int64(len(block))
	q.text.Reset()
	if err := q.encoder.Encode(string(block)); err != nil {
		return err
	}
	q.text.Truncate(q.text.Len() - len("\"\n"))
	q.text.Next(len(`"`))
	return nil
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
