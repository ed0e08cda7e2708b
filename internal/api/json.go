package api

import (
	"bytes"
	"encoding/json"
	"io"
)

// The forms that an answer is given in, as settings and parameters name them.
const (
	formJSON = "json"
	formText = "text"
)

// encode makes JSON with a line end, and with < and > as they are: people read it in terminals, and no answer is HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// newEncoder returns an encoder that does as encode.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
