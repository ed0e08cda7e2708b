package bundle_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/internal/bundle"
)

// small are limits that tests reach quickly.
var small = bundle.Limits{Files: 20, Bytes: 4 << 20, File: 2 << 20, Ratio: 50, Depth: 4, Name: 200}

func gz(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// item is an entry of an archive to be made.
type item struct {
	name    string
	content string
	// mode has the bits of the type too, for a zip.
	mode fs.FileMode
	// header is of a tar and overrides the rest.
	header *tar.Header
}

// rawTar is the tar without its compression.
func rawTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.header
		if h == nil {
			h = &tar.Header{Name: i.name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(i.content))}
			if strings.HasSuffix(i.name, "/") {
				h.Typeflag, h.Mode = tar.TypeDir, 0o755
			}
			if i.mode != 0 {
				h.Mode = int64(i.mode)
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(i.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, items ...item) []byte { return gz(t, rawTar(t, items...)) }

func zipOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, i := range items {
		h := &zip.FileHeader{Name: i.name, Method: zip.Deflate}
		if i.mode != 0 {
			h.SetMode(i.mode)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(i.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// both makes the archive in both formats.
func both(t testing.TB, items ...item) map[string][]byte {
	return map[string][]byte{"tar.gz": tarOf(t, items...), "zip": zipOf(t, items...)}
}

// wantRefusal wants a refusal of the entry whose text has the words.
func wantRefusal(t *testing.T, err error, entry, words string) {
	t.Helper()
	var r *bundle.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%v, want a refusal", err)
	}
	if r.Entry != entry || !strings.Contains(r.Text, words) {
		t.Fatalf("%+v, want one of %s with %q", r, entry, words)
	}
	if !strings.Contains(r.Text, ": ") {
		t.Fatalf("%q says no remedy", r.Text)
	}
}

// opened is a directory of the test's own.
func opened(t testing.TB) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

// contents are the regular files below dir with what is in them, symlinks as "-> where".
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			where, err := os.Readlink(p)
			files[rel] = "-> " + where
			return err
		}
		b, err := os.ReadFile(p)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
