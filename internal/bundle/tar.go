package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
)

const packAgain = "pack it again and send all of it"

// readTar reads a tar.gz. The gzip must be one member that ends with the bundle, the tar must have its end, and nothing but
// padding may stand behind that: what another program would find there, nobody has checked.
func readTar(data []byte, l Limits, visit visitor) error {
	packed := bytes.NewReader(data) // a ByteReader, of which flate takes no more than it needs
	unzip, err := gzip.NewReader(packed)
	if err != nil {
		return damaged("", err)
	}
	unzip.Multistream(false)
	m := &meter{r: unzip, limits: l, packed: func() int64 { return packed.Size() - int64(packed.Len()) }}
	if err := readEntries(m, l, visit); err != nil {
		return err
	}
	m.entry = ""
	if _, err := io.Copy(zeros{}, m); err != nil {
		return damaged("", err)
	}
	if packed.Len() > 0 {
		return refuse("", "the bundle has %d bytes behind its end: send one tar.gz and nothing else", packed.Len())
	}
	return nil
}

func readEntries(m *meter, l Limits, visit visitor) error {
	t := newTree(l)
	archive := tar.NewReader(m)
	for {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			if !m.ended() {
				return refuse("", "the bundle's tar has no end, it was cut off: %s", packAgain)
			}
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return damaged("", err)
		}
		m.entry = h.Name
		if err := tarRefusal(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		dir := h.Typeflag == tar.TypeDir
		p, err := t.add(h.Name, dir)
		if err != nil {
			return err
		}
		if p == "." {
			continue
		}
		e := entry{path: p, dir: dir, executable: h.Mode&0o100 != 0}
		if dir {
			if err := visit(e, nil); err != nil {
				return err
			}
			continue
		}
		if h.Size > l.File {
			return tooLarge(h.Name, l)
		}
		content := &source{r: archive, name: h.Name}
		if err := visit(e, content); err != nil {
			return err
		}
		// To the end of it, where a cut shows.
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
	}
}

// tarRefusal says what keeps a header from being a file or a directory.
func tarRefusal(h *tar.Header) error {
	for key := range h.PAXRecords {
		switch {
		case strings.HasPrefix(key, "GNU.sparse."):
			return refuse(h.Name, "is a sparse file: pack it without --sparse")
		// Another program reads what a global header says into every entry behind it.
		case h.Typeflag == tar.TypeXGlobalHeader && key != "comment":
			return refuse("", "the bundle's tar has a global header with %s in it: pack it with `tar -czf`", shown(key))
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if strings.HasSuffix(h.Name, "/") {
			return refuse(h.Name, "is a file and a directory at once: pack it again")
		}
		return nil
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink:
		return refuse(h.Name, "is a symbolic link: pack the file itself, as `tar -h --hard-dereference` does")
	case tar.TypeLink:
		return refuse(h.Name, "is a hard link: pack the file itself, as `tar --hard-dereference` does")
	case tar.TypeChar, tar.TypeBlock:
		return refuse(h.Name, "is a device: leave it out")
	case tar.TypeFifo:
		return refuse(h.Name, "is a FIFO: leave it out")
	case tar.TypeGNUSparse:
		return refuse(h.Name, "is a sparse file: pack it without --sparse")
	}
	return refuse(h.Name, "is of the special type %q, neither file nor directory: pack it with `tar -czf`", h.Typeflag)
}

// damaged makes a refusal of an error of the archive's format. One that is a refusal already stays.
func damaged(name string, err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	if name == "" {
		return refuse("", "the bundle is damaged or cut off (%v): %s", err, packAgain)
	}
	return refuse(name, "is damaged or cut off (%v): %s", err, packAgain)
}

func tooLarge(name string, l Limits) error {
	return refuse(name, "is larger than %d bytes: leave it out or make it smaller", l.File)
}

// source is the content of an entry, whose errors name it.
type source struct {
	r    io.Reader
	name string
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(s.name, err)
	}
	return n, err
}

// zeros takes nothing but them.
type zeros struct{}

func (zeros) Write(b []byte) (int, error) {
	if !allZero(b) {
		return 0, refuse("", "the bundle has data behind the end of its tar: pack it once and do not append to it")
	}
	return len(b), nil
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
