package logtext_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"netlab-runner/internal/logtext"
)

func TestChunk(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", logtext.ChunkSize)
	runes := strings.Repeat("é", logtext.ChunkSize) // two bytes each
	tests := []struct {
		name, text string
		all        bool
		want       int
	}{
		{"nothing", "", true, 0},
		{"whole lines", "a\nb\nc", false, 4},
		{"a line without its end waits", "abc", false, 0},
		{"and goes when asked", "abc", true, 3},
		{"all of it", "a\nbc", true, 4},
		{"a line longer than a chunk", long + "x", false, logtext.ChunkSize},
		{"a chunk exactly", long, false, logtext.ChunkSize},
		{"line end within the first chunk", "a\n" + long, false, 2},
		{"never within a rune", "x" + runes, false, logtext.ChunkSize - 1},
	}
	for _, test := range tests {
		got := logtext.Chunk([]byte(test.text), test.all)
		if got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
		if !utf8.ValidString(test.text[:got]) {
			t.Errorf("%s: cut within a rune", test.name)
		}
	}
}
