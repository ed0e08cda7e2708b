package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// EncodePiece is a host's answer: the head as a line of JSON, and behind it the bytes of the file as they are.
func EncodePiece(h Head, data []byte) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("artifact: %w", err)
	}
	answer := make([]byte, 0, len(line)+1+len(data))
	answer = append(answer, line...)
	answer = append(answer, '\n')
	return append(answer, data...), nil
}

// DecodePiece reads an answer to the question. An error is an answer that is none, or that does not fit the question.
func DecodePiece(q *Question, answer []byte) (h Head, data []byte, err error) {
	line, data, ok := bytes.Cut(answer, []byte("\n"))
	if !ok {
		return h, nil, errors.New("an answer without a head")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, fmt.Errorf("the head of an answer: %w", err)
	}
	if h.Status != Found {
		return h, nil, nil
	}
	want := min(int64(q.Length), max(h.Bytes-q.Offset, 0))
	if h.Bytes < 0 || h.ETag == "" || int64(len(data)) != want || q.ETag != "" && q.ETag != h.ETag {
		return h, nil, fmt.Errorf("an answer of %d bytes from %d on of a file of %d", len(data), q.Offset, h.Bytes)
	}
	return h, data, nil
}
