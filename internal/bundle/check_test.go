package bundle_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"testing"

	"netlab-runner/internal/bundle"
)

func TestGoodBundles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 120) + ".yml"
	for name, items := range map[string][]item{
		"one file":             {{name: "topology.yml", content: "nodes: [ a ]\n"}},
		"packed in its folder": {{name: "./"}, {name: "./topology.yml", content: "x"}, {name: "./templates/"}, {name: "./templates/a.j2"}},
		"folder named late":    {{name: "templates/a.j2", content: "x"}, {name: "templates/"}, {name: "b"}},
		"doubled slashes":      {{name: "a//b/./c", content: "x"}},
		"long name":            {{name: long, content: "x"}},
		"not ASCII":            {{name: "größe/路.yml", content: "x"}},
		"colon, dash, space":   {{name: "-a b:c", content: "x"}, {name: "..a/...", content: "x"}},
		"like Netlab's":        {{name: "clab-notes.txt"}, {name: "sub/clab.yml"}, {name: "netlab/topology.yml"}, {name: "config/r1.cfg"}, {name: "netlab.yml"}},
		"differ by case":       {{name: "a"}, {name: "A"}},
		"empty directory":      {{name: "a/"}, {name: "b"}},
	} {
		for format, data := range both(t, items...) {
			if err := bundle.Check(data, small); err != nil {
				t.Errorf("%s, %s: %v", name, format, err)
			}
		}
	}
	for name, format := range map[string]tar.Format{"GNU": tar.FormatGNU, "PAX": tar.FormatPAX} {
		h := &tar.Header{Name: long, Mode: 0o644, Typeflag: tar.TypeReg, Size: 1, Format: format, Uname: strings.Repeat("u", 20)}
		if err := bundle.Check(tarOf(t, item{header: h, content: "x"}), small); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What `git archive` puts first.
	comment := &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "670bc78"}}
	if err := bundle.Check(tarOf(t, item{header: comment}, item{name: "a"}), small); err != nil {
		t.Errorf("git archive: %v", err)
	}
}

// TestNames has what either format may be named.
func TestNames(t *testing.T) {
	t.Parallel()
	ok := item{name: "topology.yml", content: "x"}
	deep := "a/b/c/d/e"
	for _, test := range []struct {
		name  string
		items []item
		entry string // "" for the last item's
		words string
	}{
		{"absolute", []item{{name: "/etc/cron.d/x"}}, "", "absolute path"},
		{"two slashes", []item{{name: "//host/x"}}, "", "absolute path"},
		{"parent", []item{{name: "../x"}}, "", "'..'"},
		{"parent inside", []item{{name: "a/../../x"}}, "", "'..'"},
		{"parent at the end", []item{{name: "a/.."}}, "", "'..'"},
		{"parent directory", []item{{name: "a/../"}}, "", "'..'"},
		{"backslash", []item{{name: `..\x`}}, "", `'\'`},
		{"drive", []item{{name: "C:/x"}}, "", "drive letter"},
		{"drive alone", []item{{name: "c:x"}}, "", "drive letter"},
		{"line break", []item{{name: "a\nb"}}, "", "control character"},
		{"escape", []item{{name: "a\x1b[2Jb"}}, "", "control character"},
		{"C1", []item{{name: "a\u009bb"}}, "", "control character"},
		{"right to left", []item{{name: "a\u202egpj.yml"}}, "", "control character"},
		{"line separator", []item{{name: "a\u2028b"}}, "", "control character"},
		{"top as a file", []item{{name: "."}}, "", "name of a directory"},
		{"deep", []item{{name: deep}}, "", "5 directories deep"},
		{"long", []item{{name: strings.Repeat("abc/", 60) + "x"}}, fmt.Sprintf("%q…", strings.Repeat("abc/", 30)), "a path of 241 bytes"},
		{"twice", []item{ok, {name: "a"}, ok}, "", "twice"},
		{"twice in other words", []item{ok, {name: "./topology.yml"}}, "", "twice"},
		{"directory twice", []item{{name: "a/"}, {name: "a/"}}, "", "twice"},
		{"file, then directory", []item{{name: "a"}, {name: "a/"}}, "", "at once"},
		{"directory, then file", []item{{name: "a/"}, {name: "a"}}, "", "at once"},
		{"file in a file", []item{{name: "a"}, {name: "a/b"}}, "", `lies in "a", which is a file`},
		{"deep in a file", []item{{name: "a"}, {name: "a/b/c"}}, "", `lies in "a", which is a file`},
		{"file over what is around another", []item{{name: "a/b"}, {name: "a"}}, "", "at once"},

		{"snapshot", []item{ok, {name: "netlab.snapshot.pickle"}}, "", "record of a lab"},
		{"snapshot in YAML", []item{{name: "./netlab.snapshot.yml"}}, "", "record of a lab"},
		{"snapshot of a lab below", []item{{name: "sub/netlab.snapshot.pickle"}}, "", "record of a lab"},
		{"snapshot as a directory", []item{{name: "netlab.snapshot.pickle/x"}}, "", "record of a lab"},
		{"lock", []item{{name: "netlab.lock"}}, "", "a lab runs"},
		{"inputs", []item{{name: ".netlab-inputs.json"}}, "", "record of a lab"},
		{"collect's mark", []item{{name: "config/.collected"}}, "", "collect made"},
		{"temporary", []item{{name: ".netlab-bundle-0"}}, "", "unpacks under"},
		{"clab.yml", []item{{name: "clab.yml"}}, "", "belongs to Netlab"},
		{"containerlab's directory", []item{{name: "clab-lab/ansible-inventory.yml"}}, "", "belongs to Netlab"},
		{"containerlab's directory alone", []item{ok, {name: "clab-lab/"}}, "", "belongs to Netlab"},
		{"Vagrantfile", []item{{name: "Vagrantfile"}}, "", "belongs to Netlab"},
		{"inventory", []item{{name: "hosts.yml"}}, "", "belongs to Netlab"},
		{"ansible.cfg", []item{{name: "ansible.cfg"}}, "", "belongs to Netlab"},
		{"group_vars", []item{{name: "group_vars/all/x.yml"}}, "", "belongs to Netlab"},
		{"host_vars", []item{{name: "host_vars/"}}, "", "belongs to Netlab"},
		{"node_files", []item{{name: "node_files/r1/initial"}}, "", "belongs to Netlab"},
		{"status file", []item{{name: ".netlab/status.yaml"}}, "", "belongs to Netlab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.entry == "" {
				test.entry = fmt.Sprintf("%q", test.items[len(test.items)-1].name)
			}
			for _, data := range both(t, test.items...) {
				wantRefusal(t, bundle.Check(data, small), test.entry, test.words)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	noise := func(n int) string { // does not compress
		b := make([]byte, n)
		state := uint32(1)
		for i := range b {
			state = state*1664525 + 1013904223
			b[i] = byte(state >> 24)
		}
		return string(b)
	}
	var many, implied []item
	for i := range 21 {
		many = append(many, item{name: fmt.Sprint(i)})
	}
	for i := range 11 {
		implied = append(implied, item{name: fmt.Sprintf("%d/x", i)})
	}
	for _, test := range []struct {
		name         string
		items        []item
		entry, words string
	}{
		{"files", many, `"20"`, "20 files and directories"},
		{"directories around files", implied, `"10/x"`, "20 files and directories"},
		{"one large file", []item{{name: "a"}, {name: "b", content: noise(2<<20 + 1)}}, `"b"`, "larger than 2097152 bytes"},
		{"large together", []item{{name: "a", content: noise(2 << 20)}, {name: "b", content: noise(2 << 20)}, {name: "c", content: "xx"}}, `"c"`, "more than 4194304 bytes"},
		{"ratio", []item{{name: "a", content: "x"}, {name: "b", content: strings.Repeat("\x00", 2<<20)}}, `"b"`, "more than 50 times"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for format, data := range both(t, test.items...) {
				entry, words := test.entry, test.words
				if format == "zip" && test.name == "files" {
					entry, words = "", "21 files and directories" // counted before
				}
				if format == "tar.gz" && test.name == "large together" {
					entry = `"b"` // with tar's own headers
				}
				wantRefusal(t, bundle.Check(data, small), entry, words)
			}
		})
	}
	for _, data := range both(t, item{name: "a/" + strings.Repeat("b", 256)}) {
		wantRefusal(t, bundle.Check(data, bundle.DefaultLimits), fmt.Sprintf("%q…", "a/"+strings.Repeat("b", 118)), "a name of 256 bytes")
	}
	// Hidden by what does not shrink.
	data := zipOf(t, item{name: "a", content: noise(1 << 20)}, item{name: "b", content: strings.Repeat("\x00", 2<<20)})
	wantRefusal(t, bundle.Check(data, small), `"b"`, "more than 50 times")
	// At the limits, and small files with nothing in them.
	for format, data := range both(t, many[:20]...) {
		if err := bundle.Check(data, small); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	for format, data := range both(t, item{name: "a", content: strings.Repeat("\x00", 1<<20-4096)}) {
		if err := bundle.Check(data, small); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestHostileTar(t *testing.T) {
	t.Parallel()
	ok := item{name: "topology.yml", content: strings.Repeat("nodes: [ a ]\n", 100)}
	special := func(flag byte) item {
		return item{header: &tar.Header{Name: "x", Linkname: "/etc/passwd", Typeflag: flag, Mode: 0o644}}
	}
	raw, packed := rawTar(t, ok), tarOf(t, ok)
	// Flags that the writer does not write.
	flagged := func(flag byte) []byte {
		b := bytes.Clone(raw)
		b[156] = flag
		return gz(t, sum(b))
	}
	named := func(name string) []byte {
		b := bytes.Clone(raw)
		copy(b, name+"\x00")
		return gz(t, sum(b))
	}
	damagedSum := bytes.Clone(raw)
	damagedSum[150]++
	damagedGzip := bytes.Clone(packed)
	damagedGzip[len(damagedGzip)-6]++ // of the checksum
	for _, test := range []struct {
		name         string
		data         []byte
		entry, words string
	}{
		{"symlink", tarOf(t, ok, special(tar.TypeSymlink)), `"x"`, "symbolic link"},
		{"hard link", tarOf(t, ok, special(tar.TypeLink)), `"x"`, "hard link"},
		{"character device", tarOf(t, special(tar.TypeChar)), `"x"`, "device"},
		{"block device", tarOf(t, special(tar.TypeBlock)), `"x"`, "device"},
		{"FIFO", tarOf(t, special(tar.TypeFifo)), `"x"`, "FIFO"},
		{"contiguous", flagged('7'), `"topology.yml"`, "special type '7'"},
		{"GNU volume", flagged('V'), `"topology.yml"`, "special type 'V'"},
		{"GNU continued", flagged('M'), `"topology.yml"`, "special type 'M'"},
		{"GNU directory listing", flagged('D'), `"topology.yml"`, "special type 'D'"},
		{"old GNU sparse", gz(t, oldSparse(t)), `"x"`, "sparse"},
		{"PAX sparse", gz(t, paxSparse(t)), `"x"`, "sparse"},
		{"global header", tarOf(t, item{header: &tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "y"}}}, ok), "", `global header with "path"`},
		{"file with a slash", gz(t, sum(append([]byte("x/"+strings.Repeat("\x00", 98)), raw[100:]...))), `"x/"`, "at once"},
		{"not UTF-8", named("a\xffb"), `"a\xffb"`, "not UTF-8"},
		{"no name", named(""), "", "without a name"},
		{"checksum of a header", gz(t, damagedSum), "", "damaged"},
		{"not a tar", gz(t, []byte(strings.Repeat("nodes: [ a ]\n", 100))), "", "damaged"},
		{"a gzip of nothing", gz(t, nil), "", "no end"},
		{"no file", tarOf(t, item{name: "a/"}), "", "no files"},
		{"no entry", tarOf(t), "", "no files"},
		{"no end", gz(t, raw[:len(raw)-1024]), "", "no end"},
		{"half an end", gz(t, raw[:len(raw)-512]), "", "no end"},
		{"cut in a header", gz(t, raw[:300]), "", "damaged or cut off"},
		{"cut in a file", gz(t, raw[:700]), `"topology.yml"`, "damaged or cut off"},
		{"something behind the end", gz(t, append(bytes.Clone(raw), "x"...)), "", "behind the end of its tar"},
		{"a tar behind the tar", gz(t, append(bytes.Clone(raw), raw...)), "", "behind the end of its tar"},
		{"gzip cut in its header", packed[:5], "", "damaged or cut off"},
		{"gzip cut", packed[:len(packed)/2], "", "damaged or cut off"},
		{"gzip cut in its end", packed[:len(packed)-4], "", "damaged or cut off"},
		{"gzip with another checksum", damagedGzip, "", "damaged or cut off"},
		{"garbage behind", append(bytes.Clone(packed), "garbage"...), "", "7 bytes behind its end"},
		{"zeros behind", append(bytes.Clone(packed), 0), "", "1 bytes behind its end"},
		{"a second gzip", append(bytes.Clone(packed), packed...), "", "behind its end"},
		{"a zip behind", append(bytes.Clone(packed), zipOf(t, ok)...), "", "behind its end"},
		{"gzip within gzip", gz(t, packed), "", "damaged"},
		{"endless zeros behind the end", gz(t, append(bytes.Clone(raw), make([]byte, 3<<20)...)), "", "the bundle grows to more than 50 times"},
		{"negative size", sizedTar(t, raw, "-0000000001\x00"), "", "damaged"},
		{"enormous size", sizedTar(t, raw, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), `"topology.yml"`, "larger than"},
		{"size beyond the end", sizedTar(t, raw, "00000077777\x00"), `"topology.yml"`, "damaged or cut off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantRefusal(t, bundle.Check(test.data, small), test.entry, test.words)
		})
	}
}

// sum sets the checksum of the first header.
func sum(b []byte) []byte {
	copy(b[148:156], "        ")
	total := 0
	for _, c := range b[:512] {
		total += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", total))
	return b
}

func sizedTar(t *testing.T, raw []byte, size string) []byte {
	b := bytes.Clone(raw)
	copy(b[124:136], size)
	return gz(t, sum(b))
}

// oldSparse has a file of 1 KiB with one piece, as GNU tar wrote it.
func oldSparse(t *testing.T) []byte {
	b := rawTar(t, item{header: &tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 512, Format: tar.FormatGNU}, content: strings.Repeat("x", 512)})
	b[156] = 'S'
	copy(b[386:], "00000001000\x0000000001000\x00")
	copy(b[483:], "00000002000\x00")
	return sum(b)
}

// paxSparse is the same in the format 0.1.
func paxSparse(t *testing.T) []byte {
	records := ""
	for _, r := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=1", "GNU.sparse.map=512,512", "GNU.sparse.size=1024"} {
		records += fmt.Sprintf("%d %s\n", len(r)+4, r)
	}
	extended := rawTar(t, item{name: "h", content: records})
	extended[156] = 'x'
	sum(extended)
	return append(extended[:1024], rawTar(t, item{name: "x", content: strings.Repeat("x", 512)})...)
}

func TestHostileZip(t *testing.T) {
	t.Parallel()
	ok := item{name: "topology.yml", content: strings.Repeat("nodes: [ a ]\n", 100)}
	good := zipOf(t, ok)
	directory := bytes.Index(good, []byte("PK\x01\x02"))
	end := bytes.LastIndex(good, []byte("PK\x05\x06"))
	// at changes the good one: value is 16 or 32 bits.
	at := func(offset int, value any) []byte {
		b := bytes.Clone(good)
		if _, err := binary.Encode(b[offset:], binary.LittleEndian, value); err != nil {
			t.Fatal(err)
		}
		return b
	}
	entry := `"topology.yml"`
	for _, test := range []struct {
		name         string
		data         []byte
		entry, words string
	}{
		{"symlink", zipOf(t, ok, item{name: "x", content: "/etc/passwd", mode: fs.ModeSymlink | 0o777}), `"x"`, "symbolic link"},
		{"device", zipOf(t, item{name: "x", mode: fs.ModeDevice | 0o600}), `"x"`, "device"},
		{"character device", zipOf(t, item{name: "x", mode: fs.ModeDevice | fs.ModeCharDevice | 0o600}), `"x"`, "device"},
		{"FIFO", zipOf(t, item{name: "x", mode: fs.ModeNamedPipe | 0o600}), `"x"`, "FIFO"},
		{"socket", zipOf(t, item{name: "x", mode: fs.ModeSocket | 0o600}), `"x"`, "neither a file nor a directory"},
		{"directory by its mode", zipOf(t, item{name: "x", mode: fs.ModeDir | 0o755}), `"x"`, "at once"},
		{"not UTF-8", bytes.ReplaceAll(good, []byte("topology"), []byte("top\xff\xfegy\x80")), `"top\xff\xfegy\x80.yml"`, "not UTF-8"},
		{"NUL", bytes.ReplaceAll(good, []byte("topology"), []byte("topo\x00ogy")), `"topo\x00ogy.yml"`, "control character"},
		{"encrypted", at(directory+8, uint16(9)), entry, "encrypted"},
		{"strongly encrypted", at(directory+8, uint16(0x48)), entry, "encrypted"},
		{"bzip2", at(directory+10, uint16(12)), entry, "method 12"},
		{"stored by its word", at(directory+10, uint16(0)), entry, "two sizes"},
		{"larger than it says", at(directory+24, uint32(10)), entry, "damaged"},
		{"smaller than it says", at(directory+24, uint32(2000)), entry, "damaged"},
		{"packed beyond the end", at(directory+20, uint32(1<<30)), entry, "damaged"},
		{"another checksum", at(directory+16, uint32(77)), entry, "damaged"},
		{"header elsewhere", at(directory+42, uint32(3)), entry, "damaged"},
		{"header beyond the end", at(directory+42, uint32(1<<30)), entry, "damaged"},
		{"directory with something in it", bytes.ReplaceAll(good, []byte("topology.yml"), []byte("topology.ym/")), `"topology.ym/"`, "at once"},
		{"no file", zipOf(t), "", "no files"},
		{"only a directory", zipOf(t, item{name: "a/"}), "", "no files"},
		{"cut", good[:len(good)/2], "", "no end"},
		{"cut by a byte", good[:len(good)-1], "", "no end"},
		{"garbage behind", append(bytes.Clone(good), "garbage"...), "", "something behind it"},
		{"two zips", append(bytes.Clone(good), good...), "", "something before its beginning"},
		{"a tar.gz before", append(tarOf(t, ok), good...), "", "behind its end"},
		{"something before the directory", at(end+16, uint32(directory-4)), "", "made of parts"},
		{"zip64", at(end+16, uint32(0xffffffff)), "", "zip64"},
		{"directory of another count", at(end+10, uint16(7)), "", "damaged"},
		{"damaged directory", at(directory, uint32(0)), "", "damaged directory"},
		{"directory beyond itself", at(directory+28, uint16(0xffff)), "", "damaged directory"},
		{"all from one", overlap(t, 0), `"b"`, `lies within "a"`},
		{"quoted", overlap(t, 10), `"b"`, `lies within "a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantRefusal(t, bundle.Check(test.data, small), test.entry, test.words)
		})
	}
	// A comment and an extra field are no harm.
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "a", Method: zip.Store, Extra: []byte{0xfe, 0xca, 2, 0, 1, 2}, Comment: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.SetComment("packed by hand"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bundle.Check(b.Bytes(), small); err != nil {
		t.Error(err)
	}
}

// overlap is a zip of two stored files: b's header is at the same place as a's, or within a's content where a is longer.
func overlap(t *testing.T, at int) []byte {
	t.Helper()
	var b bytes.Buffer
	header := func(name, content string) []byte {
		h := make([]byte, 30)
		copy(h, "PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		binary.LittleEndian.PutUint32(h[14:], crc32.ChecksumIEEE([]byte(content)))
		binary.LittleEndian.PutUint32(h[18:], uint32(len(content)))
		binary.LittleEndian.PutUint32(h[22:], uint32(len(content)))
		binary.LittleEndian.PutUint16(h[26:], uint16(len(name)))
		return append(h, name+content...)
	}
	inner := header("b", "x")
	offsets := []int{0, 0}
	sizes := []string{"x", "x"}
	if at > 0 {
		sizes[0] = strings.Repeat(".", at) + string(inner)
		offsets[1] = 31 + at
	}
	b.Write(header("a", sizes[0]))
	directory := b.Len()
	for i, name := range []string{"a", "b"} {
		h := make([]byte, 46)
		copy(h, "PK\x01\x02\x14\x00\x14\x00")
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE([]byte(sizes[i])))
		binary.LittleEndian.PutUint32(h[20:], uint32(len(sizes[i])))
		binary.LittleEndian.PutUint32(h[24:], uint32(len(sizes[i])))
		binary.LittleEndian.PutUint16(h[28:], 1)
		binary.LittleEndian.PutUint32(h[42:], uint32(offsets[i]))
		b.Write(append(h, name...))
	}
	e := make([]byte, 22)
	copy(e, "PK\x05\x06")
	binary.LittleEndian.PutUint16(e[8:], 2)
	binary.LittleEndian.PutUint16(e[10:], 2)
	binary.LittleEndian.PutUint32(e[12:], uint32(b.Len()-directory))
	binary.LittleEndian.PutUint32(e[16:], uint32(directory))
	b.Write(e)
	return b.Bytes()
}

func TestOtherFormats(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"text":    []byte("nodes: [ a ]\n"),
		"tar":     rawTar(t, item{name: "a"}),
		"xz":      []byte("\xfd7zXZ\x00"),
		"zip's P": []byte("PK"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefusal(t, bundle.Check(data, small), "", "neither a tar.gz nor a zip")
		})
	}
	wantRefusal(t, bundle.Check(nil, small), "", "is empty")
}
