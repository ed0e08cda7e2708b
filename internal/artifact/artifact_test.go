package artifact

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"clab.yml": "clab.yml", "./clab.yml": "clab.yml", "a//b": "a/b", "a/./b/": "a/b", "ä/…": "ä/…", "a..b": "a..b", "...": "...", "a\nb": "a\nb", `..\x`: `..\x`,
	} {
		if got, err := Clean(path); err != nil || got != want {
			t.Errorf("%q: %q %v", path, got, err)
		}
	}
	for path, word := range map[string]string{
		"": "missing", "/etc/passwd": "absolute", "//x": "absolute", "..": "'..'", "../x": "'..'", "a/../b": "'..'", "a/..": "'..'", ".": "itself", "./": "itself",
		"a\x00b": "null", "a\xffb": "UTF-8", strings.Repeat("x/", 2049): "4096", strings.Repeat("x", 256): "255",
	} {
		if got, err := Clean(path); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %q %v, want %q", path, got, err, word)
		}
	}
}

func TestTypeOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"netlab.snapshot.yml": "text/yaml; charset=utf-8", "A.YAML": "text/yaml; charset=utf-8", "config/r1.cfg": "text/plain; charset=utf-8",
		"labs.tar.gz": "application/gzip", "x.tar": "application/x-tar", "graph.svg": "image/svg+xml", "a/hosts": "text/plain; charset=utf-8",
		"netlab.snapshot.pickle": "application/octet-stream", "node_files/r1/ospf": "application/octet-stream", ".collected": "application/octet-stream", "x.json": "application/json",
	} {
		if got := TypeOf(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	patterns := []string{"*.yml", "config/**", "**/*.cfg", "logs/[a-c]?.txt"}
	for _, p := range patterns {
		if err := CheckPattern(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	for path, want := range map[string]bool{
		"clab.yml": true, "deep/clab.yml": false, "config/r1": true, "config/a/b/c": true, "x/config/r1": false, "r1.cfg": true, "a/b/r1.cfg": true,
		"logs/b1.txt": true, "logs/d1.txt": false, "logs/b12.txt": false, "x.pickle": false,
	} {
		if got := Matches(patterns, path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	for pattern, word := range map[string]string{
		"/etc/*": "absolute", "../*": "'..'", "a/../b": "'..'", "*.{yml,cfg}": "brace", "[a": "no pattern", "**/**/**/**/**": "more than 4", strings.Repeat("x", 257): "256",
	} {
		if err := CheckPattern(pattern); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q", pattern, err, word)
		}
	}
}

func TestPieces(t *testing.T) {
	t.Parallel()
	q := &Question{Offset: 10, Length: 5}
	head := Head{Status: Found, ETag: "t", Bytes: 13}
	answer, err := EncodePiece(head, []byte("a\nb"))
	if err != nil {
		t.Fatal(err)
	}
	if h, data, err := DecodePiece(q, answer); err != nil || h != head || string(data) != "a\nb" {
		t.Errorf("%+v %q %v", h, data, err)
	}
	gone, err := EncodePiece(Head{Status: Gone}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h, data, err := DecodePiece(q, gone); err != nil || h.Status != Gone || data != nil {
		t.Errorf("%+v %q %v", h, data, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "no head": []byte("abc"), "garbage": []byte("[]\nabc"), "too short": bytes.TrimSuffix(answer, []byte("b")), "too long": append(bytes.Clone(answer), 'c'),
		"negative": []byte(`{"status":"found","etag":"t","bytes":-1}` + "\n"), "no tag": []byte(`{"status":"found","bytes":13}` + "\nabc"),
	} {
		if h, data, err := DecodePiece(q, bad); err == nil {
			t.Errorf("%s: %+v %q", name, h, data)
		}
	}
	if _, _, err := DecodePiece(&Question{Offset: 10, Length: 5, ETag: "other"}, answer); err == nil {
		t.Error("another file's piece is taken")
	}
}

func FuzzDecodePiece(f *testing.F) {
	f.Add([]byte(`{"status":"found","etag":"t","bytes":13}`+"\nabc"), int64(10), 5)
	f.Add([]byte(`{"status":"gone"}`+"\n"), int64(0), 0)
	f.Add([]byte("{}\n\n"), int64(1<<62), PieceSize)
	f.Fuzz(func(t *testing.T, answer []byte, offset int64, length int) {
		q := &Question{Offset: max(offset, 0), Length: min(max(length, 0), PieceSize)}
		h, data, err := DecodePiece(q, answer)
		if err == nil && (h.Status != Found && len(data) > 0 || len(data) > q.Length || h.Status == Found && q.Offset+int64(len(data)) > max(h.Bytes, q.Offset)) {
			t.Errorf("%+v: %+v %q", q, h, data)
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, path := range []string{"a/b", "../x", "/x", "a/./..", "./a//b/"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := Clean(path)
		if err != nil {
			return
		}
		if again, err := Clean(got); err != nil || again != got || !filepath.IsLocal(got) || !utf8.ValidString(got) {
			t.Errorf("%q: %q, and again %q %v", path, got, again, err)
		}
	})
}
