package jobs

import (
	"bytes"
	"encoding/json"
	"io"
)

// Encode makes JSON as NewEncoder's does.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// NewEncoder makes JSON with line ends, and with < and > as they are: people read it in terminals, a topology has many of them, and
// nothing of it is HTML.
func NewEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
