// Package logtext makes a job's log out of what Netlab and its children wrote: secrets masked, valid UTF-8.
//
// The log is a function of the whole output. How the output is cut into blocks on its way never changes it, so a log can be
// made again from the first byte after a restart and comes out the same.
package logtext

import "unicode/utf8"

// Text turns output into log text, block by block. It is not safe for concurrent use.
type Text struct {
	mask   *masker
	masked []byte // output of mask that is not valid UTF-8 yet: an unfinished rune, then the block at hand
	out    []byte
}

// NewText returns a Text that replaces every secret of MinSecret bytes or more, each of its lines, and both as programs quote
// them, by "***" and every byte that is not part of valid UTF-8 by U+FFFD. Shorter secrets and lines are left alone.
func NewText(secrets []string) *Text {
	return &Text{mask: newMasker(secrets)}
}

// Write takes the next block of output, of any length, and returns the text that is final now. What may yet turn out to be
// a secret or a rune waits for the blocks to come. The returned bytes are valid until the next call.
func (t *Text) Write(p []byte) []byte {
	t.masked = t.mask.write(t.masked, p)
	return t.validate(false)
}

// Close returns the text of what still waited. Afterwards the Text starts over, as if new.
func (t *Text) Close() []byte {
	t.masked = t.mask.close(t.masked)
	return t.validate(true)
}

// Waiting says whether some output waits for what follows it.
func (t *Text) Waiting() bool { return len(t.masked) > 0 || t.mask.waiting() }

// Reset forgets what waits and starts over, as if new.
func (t *Text) Reset() {
	t.mask.reset()
	t.masked = t.masked[:0]
}

// validate moves the masked bytes to the returned text. Unless atEnd, an unfinished rune stays behind.
func (t *Text) validate(atEnd bool) []byte {
	src := t.masked
	if !atEnd {
		src = src[:len(src)-unfinished(src)]
	}
	t.out = appendValid(t.out[:0], src)
	t.masked = t.masked[:copy(t.masked, t.masked[len(src):])]
	return t.out
}

// unfinished returns the length of the beginning of a rune at the end of p: 0 to 3.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// appendValid appends src with each invalid byte replaced by U+FFFD.
func appendValid(dst, src []byte) []byte {
	if utf8.Valid(src) {
		return append(dst, src...)
	}
	for len(src) > 0 {
		n := 0
		for n < len(src) {
			if src[n] < utf8.RuneSelf {
				n++
				continue
			}
			r, size := utf8.DecodeRune(src[n:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		dst = append(dst, src[:n]...)
		src = src[n:]
		if len(src) > 0 {
			dst = utf8.AppendRune(dst, utf8.RuneError)
			src = src[1:]
		}
	}
	return dst
}
