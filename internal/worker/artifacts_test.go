package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/artifact"
	"netlab-runner/test/people"
)

// listed are the paths of a list.
func listed(list artifact.List) []string {
	paths := []string{}
	for _, f := range list.Files {
		paths = append(paths, f.Path)
	}
	return paths
}

// piece is the answer to a question for a piece.
func (b *testBundle) piece(q artifact.Question) (artifact.Head, string) {
	b.t.Helper()
	head, data, err := b.tryPiece(q)
	if err != nil {
		b.t.Fatal(err)
	}
	return head, data
}

func (b *testBundle) tryPiece(q artifact.Question) (artifact.Head, string, error) {
	b.t.Helper()
	question := fmt.Appendf(nil, `{"workdir":%q,"user":%q,"path":%q,"offset":%d,"length":%d,"etag":%q}`, q.Workdir, q.User, q.Path, q.Offset, q.Length, q.ETag)
	answer, err := b.worker.endpoints(b.t.Context())["artifact"](b.t.Context(), question)
	if err != nil {
		return artifact.Head{}, "", err
	}
	head, data, err := artifact.DecodePiece(&q, answer)
	return head, string(data), err
}

// tricks makes a directory in which little is what it seems, and a file beside it that is nobody's business.
func (b *testBundle) tricks() (dir string) {
	b.t.Helper()
	dir = filepath.Join(b.root, "lab")
	secret := filepath.Join(b.root, "secret.txt")
	must(b.t, os.MkdirAll(filepath.Join(dir, "config", "deep"), 0o755), os.Mkdir(filepath.Join(dir, "dir.yml"), 0o755),
		os.WriteFile(secret, []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(dir, "clab.yml"), []byte("name: lab\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "config", "r1.cfg"), []byte("hostname r1\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "config", "deep", "ünd mehr\n.txt"), []byte("x"), 0o644),
		os.WriteFile(filepath.Join(dir, "not\xffutf8"), nil, 0o644),
		os.Symlink(secret, filepath.Join(dir, "link.yml")), os.Symlink("clab.yml", filepath.Join(dir, "inside.yml")),
		os.Symlink(b.root, filepath.Join(dir, "away")), os.Symlink("nowhere", filepath.Join(dir, "broken")),
		unix.Mkfifo(filepath.Join(dir, "pipe.yml"), 0o644))
	return dir
}

func TestArtifactsAreTheRegularFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.tricks()
	at := time.Unix(1_800_000_000, 999)
	must(t, os.Chtimes(filepath.Join(dir, "clab.yml"), at, at))
	var list artifact.List
	must(t, b.asked("artifacts", fmt.Sprintf(`{"workdir":%q}`, dir), &list))
	want := []string{"clab.yml", "config/deep/ünd mehr\n.txt", "config/r1.cfg", "empty"}
	if got := listed(list); !slices.Equal(got, want) || list.Truncated {
		t.Errorf("%q, truncated %v", got, list.Truncated)
	}
	if f := list.Files[0]; f.Bytes != 10 || !f.ModifiedAt.Equal(at.Truncate(time.Second)) || f.Type != "text/yaml; charset=utf-8" || f.Kept {
		t.Errorf("%+v", f)
	}
	must(t, b.asked("artifacts", fmt.Sprintf(`{"workdir":%q}`, filepath.Join(b.root, "none")), &list))
	if list.Files == nil || len(list.Files) > 0 {
		t.Errorf("of no directory: %+v", list)
	}
	for _, elsewhere := range []string{b.root, "/", "/etc", filepath.Join(b.root, "..", "x"), filepath.Join(dir, "away"), ""} {
		list = artifact.List{}
		if err := b.asked("artifacts", fmt.Sprintf(`{"workdir":%q}`, elsewhere), &list); err != nil || list.Denied == "" || len(list.Files) > 0 {
			t.Errorf("%s is listed: %+v %v", elsewhere, list, err)
		}
	}
}

func TestAnArtifactByPieces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.tricks()
	at := artifact.Place{Workdir: dir}
	head, data := b.piece(artifact.Question{Place: at, Path: "clab.yml", Length: 100})
	if head.Status != artifact.Found || data != "name: lab\n" || head.Bytes != 10 || head.ETag == "" {
		t.Errorf("%+v %q", head, data)
	}
	for _, part := range []struct {
		offset int64
		length int
		want   string
	}{{0, 4, "name"}, {6, 3, "lab"}, {9, 100, "\n"}, {10, 5, ""}, {99, 5, ""}, {3, 0, ""}} {
		again, data := b.piece(artifact.Question{Place: at, Path: "clab.yml", Offset: part.offset, Length: part.length, ETag: head.ETag})
		if again != head || data != part.want {
			t.Errorf("%+v: %+v %q", part, again, data)
		}
	}
	for _, path := range []string{"none", "link.yml", "inside.yml", "away/secret.txt", "broken", "pipe.yml", "dir.yml", "clab.yml/x", strings.Repeat("x", 255), "config"} {
		if head, data := b.piece(artifact.Question{Place: at, Path: path, Length: 100}); head.Status != artifact.Gone || data != "" {
			t.Errorf("%s: %+v %q", path, head, data)
		}
	}
	for _, q := range []artifact.Question{{Place: at, Path: "../secret.txt"}, {Place: at, Path: filepath.Join(b.root, "secret.txt")}, {Place: artifact.Place{Workdir: b.root}, Path: "secret.txt"}} {
		q.Length = 100
		if head, data, err := b.tryPiece(q); err != nil || head.Status != artifact.Denied || data != "" {
			t.Errorf("%+v: %+v %q %v", q, head, data, err)
		}
	}
	for _, q := range []artifact.Question{{Length: -1}, {Length: artifact.PieceSize + 1}, {Offset: -1}} {
		q.Place, q.Path = at, "clab.yml"
		if head, _, err := b.tryPiece(q); err == nil {
			t.Errorf("%+v: %+v", q, head)
		}
	}
}

// A file has another tag after each change, of whichever kind, and whatever the speed.
func TestAnArtifactThatChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.tricks()
	file := filepath.Join(dir, "clab.yml")
	at := time.Unix(1_800_000_000, 0)
	question := artifact.Question{Place: artifact.Place{Workdir: dir}, Path: "clab.yml", Length: 100}
	seen := map[string]string{}
	for i, change := range []func() error{
		func() error { return nil },
		func() error { return os.WriteFile(file, []byte("name: mal\n"), 0o644) },
		func() error { return os.WriteFile(file, []byte("name: alm\n"), 0o644) },
		func() error { return os.WriteFile(file, []byte("name: lam\n"), 0o644) },
		// Of the same length and time, as an archive would unpack it.
		func() error { return os.Chtimes(file, at, at) },
		func() error {
			if err := os.WriteFile(file+".new", []byte("name: xyz\n"), 0o644); err != nil {
				return err
			}
			return os.Rename(file+".new", file)
		},
		func() error { return os.Chtimes(file, at, at) },
		func() error { return os.Truncate(file, 3) },
	} {
		must(t, change())
		head, data := b.piece(question)
		if old, ok := seen[head.ETag]; ok && i > 0 {
			t.Errorf("change %d: %q has the tag of %q", i, data, old)
		}
		for tag := range seen {
			expecting := question
			if expecting.ETag = tag; tag == head.ETag {
				continue
			}
			if now, data := b.piece(expecting); now.Status != artifact.Changed || data != "" {
				t.Errorf("change %d: %+v %q", i, now, data)
			}
		}
		seen[head.ETag] = data
	}
	must(t, os.Remove(file))
	if head, _ := b.piece(question); head.Status != artifact.Gone {
		t.Errorf("removed: %+v", head)
	}
}

// The clock of files is slow: several changes may fall into one of its ticks.
func TestAnArtifactThatChangesFast(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	seen := map[string]int{}
	for i := range 50 {
		_, err := file.WriteAt([]byte{byte(i)}, 0)
		must(t, err)
		head, err := headOf(file)
		must(t, err)
		if before, ok := seen[head.ETag]; ok {
			t.Fatalf("change %d has the tag of change %d", i, before)
		}
		seen[head.ETag] = i
	}
}

func TestAWalkIsBounded(t *testing.T) {
	t.Parallel()
	dir := people.Dir(t)
	for _, name := range []string{"a/1", "a/2", "a/b/3", "a/b/c/4", "top"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { _ = root.Close() })
	ample := limits{entries: 100, files: 100, depth: 10, names: 1000}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx    context.Context
		change func(l *limits)
		want   []string
	}{
		"ample": {t.Context(), func(*limits) {}, []string{"a/1", "a/2", "a/b/3", "a/b/c/4", "top"}},
		"depth": {t.Context(), func(l *limits) { l.depth = 3 }, []string{"a/1", "a/2", "a/b/3", "top"}},
		"names": {t.Context(), func(l *limits) { l.names = 9 }, []string{"a/1", "a/2", "top"}},
		"files": {t.Context(), func(l *limits) { l.files = 1 }, []string{"top"}},
		// The two at the top, one of which is a directory.
		"entries": {t.Context(), func(l *limits) { l.entries = 2 }, []string{"top"}},
		"time":    {ended, func(*limits) {}, []string{}},
	} {
		l := ample
		test.change(&l)
		list := walk(test.ctx, root, l)
		if got := listed(list); !slices.Equal(got, test.want) || list.Truncated != (name != "ample") {
			t.Errorf("%s: %q, truncated %v", name, got, list.Truncated)
		}
	}
}

// Where the worker is root, what it reads is what the job's user may read.
func TestArtifactsAreReadWithTheUsersRights(t *testing.T) {
	t.Parallel()
	a, other := newUser(t), newUser(t)
	b := setup(t, eachItsOwn)
	dir := own(t, a, filepath.Join(b.root, a.Name))
	write := func(name, owner string, uid int, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(owner), 0o600), os.Chown(file, uid, uid), os.Chmod(file, mode))
	}
	write("mine", "mine", a.UID, 0o600)
	write("roots", "root's", 0, 0o600)
	write("theirs", "theirs", other.UID, 0o600)
	closed := own(t, other, filepath.Join(dir, "closed"))
	must(t, os.WriteFile(filepath.Join(closed, "file"), []byte("theirs"), 0o644), os.Chmod(closed, 0o700))
	for _, name := range []string{"", a.Name} {
		at := artifact.Place{Workdir: dir, User: name}
		var list artifact.List
		must(t, b.asked("artifacts", fmt.Sprintf(`{"workdir":%q,"user":%q}`, dir, name), &list))
		if got := listed(list); !slices.Equal(got, []string{"mine", "roots", "theirs"}) {
			t.Errorf("as %q: %q", name, got)
		}
		if head, data := b.piece(artifact.Question{Place: at, Path: "mine", Length: 10}); head.Status != artifact.Found || data != "mine" {
			t.Errorf("as %q: %+v %q", name, head, data)
		}
		for _, path := range []string{"roots", "theirs", "closed/file"} {
			if head, data := b.piece(artifact.Question{Place: at, Path: path, Length: 10}); head.Status != artifact.Denied || data != "" {
				t.Errorf("as %q, %s: %+v %q", name, path, head, data)
			}
		}
	}
	// Where there is no directory, it is nobody's; one of root's is not looked into.
	var list artifact.List
	must(t, os.Mkdir(filepath.Join(b.root, "roots"), 0o755), b.asked("artifacts", fmt.Sprintf(`{"workdir":%q}`, filepath.Join(b.root, "none", "lab")), &list))
	if list.Denied != "" || len(list.Files) > 0 {
		t.Errorf("of no directory: %+v", list)
	}
	must(t, b.asked("artifacts", fmt.Sprintf(`{"workdir":%q}`, filepath.Join(b.root, "roots")), &list))
	if !strings.Contains(list.Denied, "root") {
		t.Errorf("of root's: %+v", list)
	}
	for _, name := range []string{"root", "daemon", "nobodyatall"} {
		head, data := b.piece(artifact.Question{Place: artifact.Place{Workdir: dir, User: name}, Path: "mine", Length: 10})
		if head.Status != artifact.Denied || data != "" || !strings.Contains(head.Text, name) {
			t.Errorf("as %s: %+v %q", name, head, data)
		}
	}
}

// A file system that hangs holds up no more than so many questions, and no worker.
func TestLooksThatHang(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.tricks()
	release := make(chan struct{})
	var wg sync.WaitGroup
	hang := func(dir string) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wg.Go(func() {
			if _, err := looked(ctx, b.worker.looks, dir, func() (int, error) { <-release; return 0, nil }); err == nil {
				t.Error("what hangs has an answer")
			}
		})
	}
	question := fmt.Sprintf(`{"workdir":%q}`, dir)
	refused := func(when string, want bool) {
		t.Helper()
		wg.Wait()
		err := b.asked("artifacts", question, new(artifact.List))
		if (err != nil) != want || want && !strings.Contains(err.Error(), "hang") {
			t.Errorf("%s: %v", when, err)
		}
	}
	for range maxLooksAt {
		hang("elsewhere")
	}
	refused("another directory hangs", false)
	for range maxLooksAt {
		hang(dir)
	}
	refused("it hangs", true)
	for i := range maxLooks - 2*maxLooksAt {
		hang(fmt.Sprint(i))
	}
	question = fmt.Sprintf(`{"workdir":%q}`, filepath.Join(b.root, "other"))
	refused("all hang", true)
	close(release)
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = b.asked("artifacts", question, new(artifact.List)); err == nil {
			return
		}
	}
	t.Errorf("afterwards: %v", err)
}
