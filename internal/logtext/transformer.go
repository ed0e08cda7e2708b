package logtext

import "golang.org/x/text/transform"

// New returns a transformer from Netlab's raw output to the log's text: see NewText. Unlike a transform.Chain it takes
// secrets of any length, through buffers of any size: what it cannot decide yet it keeps inside and never asks for more input
// than there is.
func New(secrets []string) transform.Transformer {
	return &transformer{text: NewText(secrets)}
}

// block bounds what one Transform takes in, and with it the text that waits for room.
const block = 64 << 10

type transformer struct {
	text   *Text
	ready  []byte // final text for which there was no room
	closed bool
}

// Transform implements transform.Transformer. It returns nil or transform.ErrShortDst.
func (t *transformer) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for {
		n := copy(dst[nDst:], t.ready)
		nDst, t.ready = nDst+n, t.ready[n:]
		switch {
		case len(t.ready) > 0:
			return nDst, nSrc, transform.ErrShortDst
		case nSrc < len(src):
			part := src[nSrc:min(nSrc+block, len(src))]
			t.ready = t.text.Write(part)
			nSrc += len(part)
		case atEOF && !t.closed:
			t.ready, t.closed = t.text.Close(), true
		default:
			return nDst, nSrc, nil
		}
	}
}

// Reset implements transform.Transformer.
func (t *transformer) Reset() {
	t.text.Reset()
	t.ready, t.closed = nil, false
}
