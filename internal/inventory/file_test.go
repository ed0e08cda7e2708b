package inventory

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const oneLab = "default:\n  dir: /labs/one\n  status: started\n  providers:\n  - clab\n"

// old makes a file look as if nobody had written it for long.
func old(t *testing.T, file string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestReadStatusOfWhatIsNoStatusFile(t *testing.T) {
	t.Parallel()
	dir := realTemp(t)
	pipe, large, link, loop := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "link"), filepath.Join(dir, "loop")
	for _, err := range []error{
		unix.Mkfifo(pipe, 0o600), os.WriteFile(large, []byte(strings.Repeat("# a comment\n", largestStatus/10)), 0o600),
		os.Symlink("/dev/zero", link), os.Symlink(loop, loop),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		pipe: "not a regular file", link: "not a regular file", dir: "not a regular file", large: "larger than", loop: "too many levels",
		filepath.Join(large, "below"): "not a directory",
	} {
		if entries, _, err := readStatus(path); err == nil || !strings.Contains(err.Error(), want) || entries != nil {
			t.Errorf("%s: %v, %v", path, entries, err)
		}
	}
	if _, _, err := readStatus(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for text, want := range map[string]string{"": "", "# nothing\n": "", "- a\n": "no map", "a: [": "no YAML", "just text": "no map"} {
		file := filepath.Join(dir, "status.yaml")
		write(t, file, text)
		old(t, file)
		begin := time.Now()
		_, _, err := readStatus(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%q: %v", text, err)
		}
		if took := time.Since(begin); took > writePatience/2 {
			t.Errorf("%q, which nobody is writing, took %v", text, took)
		}
	}
}

// TestReadStatusWhileItIsWritten reads between truncating and writing.
func TestReadStatusWhileItIsWritten(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{"truncated": "", "half written": "default:\n  dir: /labs/one\n  providers: [cl"} {
		file := filepath.Join(realTemp(t), "status.yaml")
		write(t, file, before)
		done := make(chan error, 1)
		go func() {
			entries, _, err := readStatus(file)
			if err == nil && len(entries) != 1 {
				err = errors.New("it has no lab")
			}
			done <- err
		}()
		// The reader is in the middle of its second at the latest.
		time.Sleep(5 * pause)
		draft := file + ".new"
		write(t, draft, oneLab)
		if err := os.Rename(draft, file); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadStatusTakesTurnsWithTheWriter holds Netlab's lock while the file is empty.
func TestReadStatusTakesTurnsWithTheWriter(t *testing.T) {
	t.Parallel()
	file := filepath.Join(realTemp(t), "status.yaml")
	write(t, file, "")
	old(t, file)
	write(t, file+".lock", "")
	lock, err := os.OpenFile(file+".lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		entries, _, err := readStatus(file)
		if err != nil {
			t.Error(err)
		}
		done <- len(entries)
	}()
	time.Sleep(10 * pause)
	write(t, file, oneLab)
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 1 {
		t.Errorf("%d labs are read, want 1", n)
	}

	// A lock that is never let go is not waited for, and none is made where there is none.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := readStatus(file); err != nil || len(entries) != 1 {
		t.Errorf("with a lock that is held: %v, %v", entries, err)
	}
	if err := os.Remove(file + ".lock"); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := readStatus(file); err != nil || len(entries) != 1 {
		t.Errorf("without a lock file: %v, %v", entries, err)
	}
	if _, err := os.Lstat(file + ".lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock file was made: %v", err)
	}
}

func TestReadsThatHangAreNotBegunAgain(t *testing.T) {
	t.Parallel()
	var r reads
	release, begun := make(chan struct{}), 0
	f := func() any { begun++; <-release; return "done" }
	for range 2 {
		if _, err := r.do("file", f); !errors.Is(err, errSlow) {
			t.Fatal(err)
		}
	}
	close(release)
	if value, err := r.do("file", func() any { return "done" }); err != nil || value != "done" {
		t.Errorf("afterwards: %v, %v", value, err)
	}
	if begun != 1 {
		t.Errorf("it was begun %d times", begun)
	}
}
