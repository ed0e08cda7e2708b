package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/bundle"
)

// FuzzUnpack takes any bytes; those that are no gzip and no zip are taken for a tar, which gets its checksums and is packed.
func FuzzUnpack(f *testing.F) {
	for _, data := range both(f, lab...) {
		f.Add(data)
	}
	f.Add(rawTar(f, lab...))
	f.Add(rawTar(f, item{name: "a/b", content: "x"}, item{header: &tar.Header{Name: "l", Linkname: "a", Typeflag: tar.TypeSymlink}}))
	f.Add(rawTar(f, item{header: &tar.Header{Name: strings.Repeat("n", 150), Typeflag: tar.TypeReg, Format: tar.FormatGNU}}))
	f.Add(rawTar(f, item{header: &tar.Header{Name: strings.Repeat("ü", 60), Typeflag: tar.TypeReg, Format: tar.FormatPAX}}))
	f.Add(zipOf(f, item{name: "l", content: "a", mode: fs.ModeSymlink | 0o777}, item{name: "l/x"}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !strings.HasPrefix(string(data), "PK") && !strings.HasPrefix(string(data), "\x1f\x8b") {
			data = bytes.Clone(data)
			for at := 0; at+512 <= len(data); at += 512 {
				if bytes.HasPrefix(data[at+257:], []byte("ustar")) {
					sum(data[at : at+512])
				}
			}
			data = gz(t, data)
		}
		// The directory is not the temporary one itself, so that what leaves it is seen.
		outer := t.TempDir()
		dir := filepath.Join(outer, "lab")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = root.Close() }()

		checked := bundle.Check(data, small)
		files, err := bundle.Unpack(data, root, small)
		if (checked == nil) != (err == nil) {
			t.Fatalf("check says %v, unpack %v", checked, err)
		}
		var r *bundle.Refusal
		if err != nil && (!errors.As(err, &r) || strings.ContainsAny(r.Error(), "\n\x00\x1b")) {
			t.Fatalf("%q", err)
		}
		have := contents(t, outer)
		want := map[string]string{}
		for _, name := range files {
			want["lab/"+name] = have["lab/"+name]
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Fatalf("files (-said +there):\n%s", diff)
		}
		if err == nil && len(files) == 0 {
			t.Fatal("unpacked nothing")
		}
		if err := filepath.WalkDir(outer, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() {
				err = errors.New(d.Name() + " is neither a file nor a directory")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}
