package bus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"

	"github.com/nats-io/nats.go/jetstream"
)

// keeps stores files of these contents as what a job has left.
func keeps(ctx context.Context, t *testing.T, b *Bus, id string, contents ...[]byte) *KeptList {
	t.Helper()
	list := &KeptList{Warnings: []string{"one was too large"}}
	for i, content := range contents {
		file := KeptFile{Path: strings.Repeat("x", i+1), ETag: "e", Token: NewKeptToken(), Modified: time.Unix(1_800_000_000, 5).UTC()}
		var err error
		if file.Bytes, err = b.PutKept(ctx, "a", id, file.Token, bytes.NewReader(content), int64(len(content))); err != nil || file.Bytes != int64(len(content)) {
			t.Fatalf("%d bytes, %v", file.Bytes, err)
		}
		list.Files = append(list.Files, file)
	}
	if err := b.PutKeptList(ctx, "a", id, list); err != nil {
		t.Fatal(err)
	}
	return list
}

// keptContent reads a kept file to its end.
func keptContent(ctx context.Context, b *Bus, id string, file *KeptFile) ([]byte, error) {
	content := []byte{}
	for n := 0; int64(len(content)) < file.Bytes; n++ {
		piece, err := b.KeptPiece(ctx, "a", id, file, n)
		if err != nil {
			return nil, err
		}
		content = append(content, piece...)
	}
	return content, nil
}

func TestKeptFiles(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	if _, err := b.KeptList(ctx, "a", "j"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	contents := [][]byte{noise(0), noise(1), noise(PieceSize), noise(3*PieceSize + 7)}
	want := keeps(ctx, t, b, "j", contents...)
	// The answer to the list was lost: it is put again. Another one is not taken.
	if err := b.PutKeptList(ctx, "a", "j", want); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := b.PutKeptList(ctx, "a", "j", &KeptList{}); !errors.Is(err, ErrConflict) {
		t.Errorf("another: %v", err)
	}
	list, err := b.KeptList(ctx, "a", "j")
	if err != nil || len(list.Files) != len(contents) || len(list.Warnings) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	for i := range list.Files {
		if list.Files[i] != want.Files[i] {
			t.Errorf("%+v, want %+v", list.Files[i], want.Files[i])
		}
		if got, err := keptContent(ctx, b, "j", &list.Files[i]); err != nil || !bytes.Equal(got, contents[i]) {
			t.Errorf("file %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := b.KeptPiece(ctx, "a", "j", &KeptFile{Bytes: 5, Token: want.Files[1].Token}, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("a piece of another file: %v", err)
	}

	// What came with a job and what it left are of two kinds.
	if err := b.PutObject(ctx, "a", "j", noise(9)); err != nil {
		t.Fatal(err)
	}
	if err := b.PurgeObject(ctx, "a", "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.KeptList(ctx, "a", "j"); err != nil {
		t.Errorf("purged with the input: %v", err)
	}
	if err := b.PutObject(ctx, "a", "j", noise(9)); err != nil {
		t.Fatal(err)
	}
	if err := b.PurgeKept(ctx, "a", "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.KeptList(ctx, "a", "j"); !errors.Is(err, ErrNotFound) {
		t.Errorf("purged: %v", err)
	}
	if n := messages(ctx, t, b); n != 1 {
		t.Errorf("%d pieces are left, want that of the input", n)
	}
}

func messages(ctx context.Context, t *testing.T, b *Bus) uint64 {
	t.Helper()
	stream, err := b.js.Stream(ctx, objectsStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestKeptFilesThatCannotBeStored(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	broken := errors.New("the disk is broken")
	if _, err := b.PutKept(ctx, "a", "j", "f", io.MultiReader(bytes.NewReader(noise(PieceSize)), iotest.ErrReader(broken)), 2*PieceSize); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	if n, err := b.PutKept(ctx, "a", "j", "short", bytes.NewReader(noise(10)), 20); err != nil || n != 10 {
		t.Errorf("a file that has become shorter: %d %v", n, err)
	}
	if n, err := b.PutKept(ctx, "a", "j", "long", bytes.NewReader(noise(20)), 10); err != nil || n != 10 {
		t.Errorf("a file that has become longer: %d %v", n, err)
	}
	if err := b.PurgeKept(ctx, "a", "j"); err != nil {
		t.Fatal(err)
	}
	if room, err := b.KeptRoom(ctx); err != nil || room <= 0 {
		t.Fatalf("%d %v", room, err)
	}
	stream, err := b.js.Stream(ctx, objectsStream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxBytes = 4 * PieceSize
	if _, err := b.js.UpdateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	if room, err := b.KeptRoom(ctx); err != nil || room != 2*PieceSize {
		t.Errorf("room %d %v", room, err)
	}
	if _, err := b.PutKept(ctx, "a", "j", "large", bytes.NewReader(noise(5*PieceSize)), 5*PieceSize); !errors.Is(err, ErrFull) {
		t.Errorf("a full stream: %v", err)
	}
	if room, err := b.KeptRoom(ctx); err != nil || room != 0 {
		t.Errorf("room %d %v", room, err)
	}
}

func TestSweepOfKeptFiles(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	for _, id := range []string{"running", "kept", "givenup", "unknown"} {
		keeps(ctx, t, b, id, noise(PieceSize+1))
		if err := b.PutObject(ctx, "a", id, noise(1)); err != nil {
			t.Fatal(err)
		}
	}
	needs := map[string]Needs{"running": {true, true, true}, "kept": {true, false, true}, "givenup": {true, false, false}}
	sweep := func(young time.Duration) {
		t.Helper()
		if err := b.sweepObjects(ctx, young, func(id string) Needs { return needs[id] }); err != nil {
			t.Fatal(err)
		}
	}
	has := func(id string) (input, kept bool) {
		t.Helper()
		stream, err := b.js.Stream(ctx, objectsStream)
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(objectsPublic+"a."+id+".>"))
		if err != nil {
			t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			input = input || strings.Count(subject, ".") == inputTokens-1
			kept = kept || strings.Count(subject, ".") == keptTokens-1
		}
		return input, kept
	}
	sweep(time.Hour)
	for id, want := range map[string][2]bool{"running": {true, true}, "kept": {false, true}, "givenup": {false, false}, "unknown": {true, true}} {
		if input, kept := has(id); input != want[0] || kept != want[1] {
			t.Errorf("%s: input %v, kept %v", id, input, kept)
		}
	}
	sweep(time.Nanosecond)
	if input, kept := has("unknown"); input || kept {
		t.Errorf("of a job that is not known: input %v, kept %v", input, kept)
	}
	if input, kept := has("running"); !input || !kept {
		t.Errorf("of a running one: input %v, kept %v", input, kept)
	}
}

// A list of kept files is as its host left it.
func TestKeptListsThatNoWorkerWrites(t *testing.T) {
	t.Parallel()
	ctx, b := ready(t)
	good := KeptFile{Path: "dir/a b.yml", Bytes: 7, ETag: "1-2-3", Token: NewKeptToken()}
	for name, change := range map[string]func(f *KeptFile){
		"good":                   func(*KeptFile) {},
		"a negative length":      func(f *KeptFile) { f.Bytes = -1 },
		"a length beyond all":    func(f *KeptFile) { f.Bytes = 1 << 50 },
		"another's piece":        func(f *KeptFile) { f.Token = `*","last_by_subj":"netlab.objects.b.j.x` },
		"a wildcard":             func(f *KeptFile) { f.Token = "*" },
		"another line":           func(f *KeptFile) { f.ETag = "a\r\nSet-Cookie: b" },
		"a quoted tag":           func(f *KeptFile) { f.ETag = `a"` },
		"no tag":                 func(f *KeptFile) { f.ETag = "" },
		"an absolute path":       func(f *KeptFile) { f.Path = "/etc/passwd" },
		"no path":                func(f *KeptFile) { f.Path = "" },
		"a path with a NUL byte": func(f *KeptFile) { f.Path = "a\x00" },
	} {
		f := good
		change(&f)
		id := uuid.NewString()
		if err := b.PutKeptList(ctx, "a", id, &KeptList{Files: []KeptFile{good, f}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.KeptList(ctx, "a", id); (err == nil) != (name == "good") || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
