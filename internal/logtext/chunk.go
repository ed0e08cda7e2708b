package logtext

import (
	"bytes"
	"unicode/utf8"
)

// ChunkSize bounds the text of one chunk, in bytes.
const ChunkSize = 64 << 10

// Chunk says how many bytes of a log's text the next chunk has: up to the last line end, never within a rune, at most ChunkSize.
// With all the text has its end, and a line without one does not wait for it. 0: there is no chunk yet.
func Chunk(text []byte, all bool) int {
	if all && len(text) <= ChunkSize {
		return len(text)
	}
	if size := bytes.LastIndexByte(text[:min(len(text), ChunkSize)], '\n') + 1; size > 0 {
		return size
	}
	if len(text) < ChunkSize {
		return 0
	}
	size := ChunkSize
	for size > ChunkSize-utf8.UTFMax && size < len(text) && !utf8.RuneStart(text[size]) {
		size--
	}
	return size
}
