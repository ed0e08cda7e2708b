package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/logfile"
	"netlab-runner/internal/logfile/logfiletest"
)

func TestStoreOnDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "logs")
	s := open(t, dir)
	mustAppend(t, s.Get("job-1"), 0, "text")
	if got, want := s.Path("job-1"), filepath.Join(dir, "job-1.log"); got != want {
		t.Errorf("Path: %s", got)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, s.Path("job-1"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if _, err := logfile.Open(filepath.Join(s.Path("job-1"), "below")); err == nil {
		t.Error("a store below a file opens")
	}
}

// The folder may be removed below the store: it is made again.
func TestTheFolderIsRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	s := open(t, dir)
	l := s.Get("job-1")
	mustAppend(t, l, 0, "text")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var gap *logfile.Gap
	if err := l.Append(4, []byte("more")); !errors.As(err, &gap) || gap.Have != 0 {
		t.Errorf("of a log whose file is removed: %v", err)
	}
	mustAppend(t, l, 0, "textmore")
	mustAppend(t, s.Get("job-2"), 0, "other")
	if got := content(t, l) + content(t, s.Get("job-2")); got != "textmoreother" {
		t.Errorf("the logs are %q", got)
	}
}

func TestGetIsTheSameLog(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	l.Finish()
	if s.Get("job-1") != l {
		t.Error("another log of the same job")
	}
	if s.Get("job-2") == l {
		t.Error("the same log of another job")
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := open(t, dir)
	mustAppend(t, before.Get("job-1"), 0, "0123")
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	l := open(t, dir).Get("job-1")
	if err := l.Load(); err != nil || l.Size() != 4 {
		t.Errorf("the log has %d bytes, %v", l.Size(), err)
	}
	if got := content(t, l); got != "0123" {
		t.Errorf("the log is %q", got)
	}
	mustAppend(t, l, 2, "2345")
	if got := content(t, l); got != "012345" {
		t.Errorf("the log went on as %q", got)
	}
	l = open(t, dir).Get("job-1")
	var gap *logfile.Gap
	if err := l.Append(9, []byte("x")); !errors.As(err, &gap) || gap.Have != 6 {
		t.Errorf("a gap behind what an earlier process wrote: %v", err)
	}
	if size, finished, err := l.Wait(deadline(t), 5, nil); size != 6 || finished || err != nil {
		t.Errorf("Wait: %d, %v, %v", size, finished, err)
	}
}

func TestInvalidID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "logs"))
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a.b", "a\x00b", "ä", strings.Repeat("x", 65)} {
		l := s.Get(id)
		if s.Path(id) != "" {
			t.Errorf("%q: Path: %q", id, s.Path(id))
		}
		_, readErr := l.ReadAt(make([]byte, 1), 0)
		_, _, waitErr := l.Wait(context.Background(), 0, nil)
		for _, err := range []error{l.Append(0, []byte("x")), readErr, waitErr, s.Remove(id)} {
			if !errors.Is(err, logfile.ErrInvalidID) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if l.Size() != 0 {
			t.Errorf("%q: Size: %d", id, l.Size())
		}
		l.Finish()
	}
	var files []string
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		files = append(files, path)
		return nil
	})
	if diff := cmp.Diff([]string{dir, filepath.Join(dir, "logs")}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	mustAppend(t, l, 0, "text")
	if err := s.Remove("job-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Path("job-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	_, readErr := l.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{readErr, l.Append(4, []byte("x"))} {
		if !errors.Is(err, logfile.ErrRemoved) {
			t.Errorf("after Remove: %v", err)
		}
	}
	if _, err := os.Stat(s.Path("job-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an append made the file again: %v", err)
	}
	if size := s.Get("job-1").Size(); size != 0 {
		t.Errorf("the next log has %d bytes", size)
	}
	if err := s.Remove("job-2"); err != nil {
		t.Errorf("of a job without a log: %v", err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l, removed := s.Get("job-1"), s.Get("job-2")
	mustAppend(t, l, 0, "text")
	if err := s.Remove("job-2"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, readErr := l.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{
		readErr, l.Append(4, []byte("x")), s.Get("job-3").Append(0, []byte("x")), s.Remove("job-1"),
	} {
		if !errors.Is(err, logfile.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := removed.Append(0, []byte("x")); !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("a removed one after Close: %v", err)
	}
	if got := openFiles(t, filepath.Dir(s.Path("job-1"))); got != 0 {
		t.Errorf("%d files are open", got)
	}
}

// openFiles counts the open files of this process below dir.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil && strings.HasPrefix(path, dir) {
			n++
		}
	}
	return n
}

func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	const logs, bound = 400, 256
	id := func(i int) string { return fmt.Sprintf("job-%d", i) }
	for _, text := range []string{"a", "b"} {
		for i := range logs {
			mustAppend(t, s.Get(id(i)), s.Get(id(i)).Size(), text)
		}
	}
	if got := openFiles(t, dir); got != bound {
		t.Errorf("%d files of live logs are open, not %d", got, bound)
	}
	for i := range logs {
		s.Get(id(i)).Finish()
	}
	awaitClosed(t, dir, 0)
	for i := range logs {
		if got := content(t, s.Get(id(i))); got != "ab" {
			t.Errorf("%s: %q", id(i), got)
		}
	}
	mustAppend(t, s.Get("next"), 0, "a")
	if got := openFiles(t, dir); got != 1 {
		t.Errorf("%d files are open for one live log", got)
	}
}

// While the disk of one log hangs, nobody else waits, nor who asks how long that log is or says that it is whole.
func TestADiskThatHangs(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	mustAppend(t, s.Get("removed"), 0, "text")
	l := s.Get("hangs")
	if l.Size() != 0 {
		t.Fatal("it has something")
	}
	file := logfiletest.Hang(t, s.Path("hangs"))
	appended := make(chan error, 1)
	go func() { appended <- l.Append(0, []byte("text")) }()
	file.AwaitOpen()

	others := make(chan struct{})
	go func() {
		defer close(others)
		l.Finish()
		if size := s.Get("hangs").Size(); size != 0 {
			t.Errorf("the log has %d bytes", size)
		}
		if err := s.Get("other").Append(0, []byte("text")); err != nil {
			t.Error(err)
		}
		if err := s.Remove("removed"); err != nil {
			t.Error(err)
		}
		_ = s.Detach("hangs")
	}()
	select {
	case <-others:
	case <-deadline(t).Done():
		t.Fatal("they wait")
	}
	file.LetGo()
	if err := <-appended; !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("what was written: %v", err)
	}
}

// A log that is finished while it is written to keeps what is written, and no file open: wherever the writing just is.
func TestFinishDuringAnAppend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 300 {
		l := s.Get(fmt.Sprint("live-", i))
		mustAppend(t, l, 0, "0123")
		finished := make(chan struct{})
		go func() { defer close(finished); l.Finish() }()
		mustAppend(t, l, 0, "01234567")
		<-finished
		if got := content(t, l); got != "01234567" {
			t.Errorf("the log is %q", got)
		}
	}
	awaitClosed(t, dir, 0)
	l := s.Get("job-1")
	file := logfiletest.Hang(t, s.Path("job-1"))
	appended := make(chan error, 1)
	go func() { appended <- l.Append(0, []byte("text")) }()
	file.AwaitOpen()
	l.Finish()
	file.LetGo()
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if got := content(t, l); got != "text" {
		t.Errorf("the log is %q", got)
	}
	awaitClosed(t, dir, 0)
}

// A log that is removed while somebody opens its file leaves none behind: the file goes when it is open.
func TestRemoveWhileTheFileIsOpened(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	file := logfiletest.Hang(t, s.Path("job-1"))
	appended, removed := make(chan error, 1), make(chan error, 1)
	go func() { appended <- l.Append(0, []byte("text")) }()
	file.AwaitOpen()
	remove := s.Detach("job-1")
	go func() { removed <- remove() }()
	select {
	case err := <-removed:
		t.Errorf("it is removed before: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	file.LetGo()
	if err := <-appended; !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("what was written: %v", err)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Path("job-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
}

// Who reads a log while it is removed gets nothing of a file that may be the next one's.
func TestReadWhileTheLogIsRemoved(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	mustAppend(t, l, 0, "text")
	l.Finish()
	awaitClosed(t, filepath.Dir(s.Path("job-1")), 0)
	file := logfiletest.Hang(t, s.Path("job-1"))
	read := make(chan error, 1)
	go func() {
		_, err := l.ReadAt(make([]byte, 4), 0)
		read <- err
	}()
	file.AwaitOpen()
	if err := s.Remove("job-1"); err != nil {
		t.Fatal(err)
	}
	file.LetGo()
	if err := <-read; !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("it read: %v", err)
	}
}

// What is written to the next log of an id waits until the file of the one before is removed.
func TestTheNextLogOfAnID(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	mustAppend(t, s.Get("job-1"), 0, "the first")
	removeFirst := s.Detach("job-1")
	second := s.Get("job-1")
	removeSecond := s.Detach("job-1")
	third := s.Get("job-1")
	if third == second || third.Size() != 0 {
		t.Errorf("the next log has %d bytes", third.Size())
	}
	if err := second.Append(0, []byte("x")); !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("a log that was removed before it was written: %v", err)
	}
	written, removed := make(chan error, 1), make(chan error, 1)
	go func() { written <- third.Append(0, []byte("the third")) }()
	go func() { removed <- removeSecond() }()
	select {
	case err := <-written:
		t.Errorf("it is written before: %v", err)
	case err := <-removed:
		t.Errorf("the second is removed before the first: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	for _, err := range []error{removeFirst(), <-removed, <-written} {
		if err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(s.Path("job-1"))
	if err != nil || string(text) != "the third" {
		t.Errorf("the file has %q, %v", text, err)
	}
	if s.Get("job-1") != third {
		t.Error("another log of the same job")
	}
}

// A Check of a log that has been removed leaves the file of the next one alone.
func TestACheckOfALogThatIsRemoved(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	first := s.Get("job-1")
	mustAppend(t, first, 0, "text")
	if err := s.Remove("job-1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s.Get("job-1"), 0, "a longer text")
	if err := first.Check(4); !errors.Is(err, logfile.ErrRemoved) {
		t.Errorf("it says %v", err)
	}
	if got := content(t, s.Get("job-1")); got != "a longer text" {
		t.Errorf("the next log is %q", got)
	}
	if text, err := os.ReadFile(s.Path("job-1")); err != nil || string(text) != "a longer text" {
		t.Errorf("its file has %q, %v", text, err)
	}
}

// awaitClosed returns when no more than n files below dir are open: a log that is finished is closed by and by.
func awaitClosed(t *testing.T, dir string, n int) {
	t.Helper()
	for ctx := deadline(t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if openFiles(t, dir) == n {
			return
		}
	}
	t.Errorf("%d files are open, want %d", openFiles(t, dir), n)
}
