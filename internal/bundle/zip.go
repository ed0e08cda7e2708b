package bundle

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

const (
	zipEncrypted       = 1 << 0
	zipStrongEncrypted = 1 << 6
	zipMaskedDirectory = 1 << 13

	// The lengths of zip's records without their names, extra fields and comments.
	zipLocalSize     = 30
	zipDirectorySize = 46
	zipEndSize       = 22
)

// readZip reads a zip. Its directory must end with the bundle, and no two entries may share a byte: that is how a few
// kilobytes unpack to petabytes with every ratio in order.
func readZip(data []byte, l Limits, visit visitor) error {
	if err := checkDirectory(data, l); err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return damaged("", err)
	}
	t := newTree(l)
	paths := make([]string, len(archive.File))
	var unpacked int64
	for i, f := range archive.File {
		if err := zipRefusal(f, l); err != nil {
			return err
		}
		if paths[i], err = t.add(f.Name, f.Mode().IsDir()); err != nil {
			return err
		}
		// What the directory says; the content is held to it below.
		unpacked += int64(f.UncompressedSize64)
		if err := growth(f.Name, unpacked, int64(len(data)), l); err != nil {
			return err
		}
	}
	if err := overlapping(archive.File); err != nil {
		return err
	}
	for i, f := range archive.File {
		e := entry{path: paths[i], dir: f.Mode().IsDir(), executable: f.Mode()&0o100 != 0}
		switch {
		case e.path == ".":
		case e.dir:
			if err := visit(e, nil); err != nil {
				return err
			}
		default:
			if err := visitZip(f, e, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func visitZip(f *zip.File, e entry, visit visitor) error {
	r, err := f.Open()
	if err != nil {
		return damaged(f.Name, err)
	}
	defer func() { _ = r.Close() }()
	content := &source{r: r, name: f.Name}
	if err := visit(e, content); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, content)
	return err
}

// zipRefusal says what keeps an entry from being a file or a directory.
func zipRefusal(f *zip.File, l Limits) error {
	mode, slash := f.Mode(), strings.HasSuffix(f.Name, "/")
	switch {
	case f.Flags&(zipEncrypted|zipStrongEncrypted|zipMaskedDirectory) != 0:
		return refuse(f.Name, "is encrypted: pack it without a password")
	case mode&fs.ModeSymlink != 0:
		return refuse(f.Name, "is a symbolic link: pack the file itself, as `zip -r` without -y does")
	case mode&fs.ModeDevice != 0:
		return refuse(f.Name, "is a device: leave it out")
	case mode&fs.ModeNamedPipe != 0:
		return refuse(f.Name, "is a FIFO: leave it out")
	case !mode.IsDir() && !mode.IsRegular():
		return refuse(f.Name, "is neither a file nor a directory: leave it out")
	case mode.IsDir() && (!slash || f.UncompressedSize64 != 0):
		return refuse(f.Name, "is a file and a directory at once: pack it again")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return refuse(f.Name, "is packed by method %d: use deflate, as `zip -r` does", f.Method)
	case f.UncompressedSize64 > uint64(l.File):
		return tooLarge(f.Name, l)
	case f.Method == zip.Store && f.UncompressedSize64 != f.CompressedSize64:
		return refuse(f.Name, "is stored as it is and yet has two sizes, %d and %d: pack it again", f.CompressedSize64, f.UncompressedSize64)
	case f.UncompressedSize64 > freeBytes && f.UncompressedSize64/uint64(l.Ratio) > f.CompressedSize64:
		return refuse(f.Name, "grows to more than %d times its packed size: leave out what is as empty as that", l.Ratio)
	}
	return nil
}

// overlapping refuses entries that share bytes of the bundle.
func overlapping(files []*zip.File) error {
	type extent struct {
		name       string
		begin, end int64
	}
	extents := make([]extent, len(files))
	for i, f := range files {
		body, err := f.DataOffset()
		if err != nil {
			return damaged(f.Name, err)
		}
		// At least: the local header's extra field is not counted, the name in it as long as it should be.
		extents[i] = extent{f.Name, body - zipLocalSize - int64(len(f.Name)), body + int64(f.CompressedSize64)}
	}
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	for i := 1; i < len(extents); i++ {
		if before := extents[i-1]; extents[i].begin < before.end {
			return refuse(extents[i].name, "lies within %s in the zip: pack every file on its own", shown(before.name))
		}
	}
	return nil
}

// checkDirectory counts the entries of a zip's directory before memory is taken for them. The directory must lie right
// before the zip's end, and that at the bundle's.
func checkDirectory(data []byte, l Limits) error {
	end := endOfZip(data)
	if end < 0 {
		return refuse("", "the bundle's zip has no end, or something behind it: %s", packAgain)
	}
	size, at := int64(binary.LittleEndian.Uint32(data[end+12:])), int64(binary.LittleEndian.Uint32(data[end+16:]))
	if at+size != int64(end) {
		return refuse("", "the bundle's zip is made of parts, has something before its beginning, or is a zip64: pack it with `zip -r`")
	}
	count := 0
	for directory := data[at:end]; len(directory) > 0; count++ {
		if len(directory) < zipDirectorySize || !bytes.HasPrefix(directory, []byte("PK\x01\x02")) {
			return refuse("", "the bundle's zip has a damaged directory: %s", packAgain)
		}
		next := zipDirectorySize
		for _, length := range []int{28, 30, 32} { // of the name, the extra field, the comment
			next += int(binary.LittleEndian.Uint16(directory[length:]))
		}
		if next > len(directory) {
			return refuse("", "the bundle's zip has a damaged directory: %s", packAgain)
		}
		directory = directory[next:]
	}
	if count > l.Files {
		return refuse("", "the bundle has %d files and directories: use at most %d", count, l.Files)
	}
	return nil
}

// endOfZip finds the record that ends a zip together with its comment and the bundle; -1 without one.
func endOfZip(data []byte) int {
	for at := len(data) - zipEndSize; at >= max(0, len(data)-zipEndSize-0xffff); at-- {
		if bytes.HasPrefix(data[at:], []byte("PK\x05\x06")) {
			if at+zipEndSize+int(binary.LittleEndian.Uint16(data[at+20:])) == len(data) {
				return at
			}
			// Go takes the last one, whatever its comment.
			return -1
		}
	}
	return -1
}
