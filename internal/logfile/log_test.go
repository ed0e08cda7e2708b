package logfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"netlab-runner/internal/logfile"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		os.Exit(fillDisk(dir))
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string) *logfile.Store {
	t.Helper()
	s, err := logfile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustAppend(t *testing.T, l *logfile.Log, offset int64, text string) {
	t.Helper()
	if err := l.Append(offset, []byte(text)); err != nil {
		t.Fatalf("append at %d: %v", offset, err)
	}
}

func content(t *testing.T, l *logfile.Log) string {
	t.Helper()
	p := make([]byte, l.Size())
	if n, err := l.ReadAt(p, 0); err != nil || n != len(p) {
		t.Fatalf("read %d of %d bytes: %v", n, len(p), err)
	}
	return string(p)
}

func TestAppend(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	if l.Size() != 0 {
		t.Errorf("a new log has %d bytes", l.Size())
	}
	for _, step := range []struct {
		name   string
		offset int64
		text   string
		want   string
		gap    *logfile.Gap
	}{
		{"behind the end of nothing", 1, "x", "", &logfile.Gap{Have: 0, Offset: 1}},
		{"the first", 0, "0123", "0123", nil},
		{"the next", 4, "45", "012345", nil},
		{"again", 4, "45", "012345", nil},
		{"all of it there, inside", 1, "12", "012345", nil},
		{"overlapping the end", 4, "4567", "01234567", nil},
		{"empty at the end", 8, "", "01234567", nil},
		{"empty in the middle", 2, "", "01234567", nil},
		{"behind the end", 9, "9", "01234567", &logfile.Gap{Have: 8, Offset: 9}},
		{"some there, some new", 0, "012345678", "012345678", nil},
	} {
		err := l.Append(step.offset, []byte(step.text))
		var gap *logfile.Gap
		if !errors.As(err, &gap) && err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.gap, gap); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.want, content(t, l)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if err := l.Append(-1, []byte("x")); err == nil {
		t.Error("a negative offset is accepted")
	}
	data, err := os.ReadFile(s.Path("job-1"))
	if diff := cmp.Diff("012345678", string(data)); diff != "" || err != nil {
		t.Errorf("the file: %v (-want +got):\n%s", err, diff)
	}
}

func TestAppendOfOtherBytes(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	mustAppend(t, l, 0, "0123456789")
	for _, finished := range []bool{false, true} {
		for offset, text := range map[int64]string{0: "x", 2: "2x", 9: "x", 8: "8x10", 5: "x678910"} {
			if err := l.Append(offset, []byte(text)); !errors.Is(err, logfile.ErrDiffers) {
				t.Errorf("%q at %d, finished %t: %v", text, offset, finished, err)
			}
		}
		mustAppend(t, l, 3, "345")
		if got := content(t, l); got != "0123456789" {
			t.Errorf("the log is %q", got)
		}
		l.Finish()
	}
}

func TestReadAt(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	l := s.Get("job-1")
	mustAppend(t, l, 0, "0123456789")
	check := func(when string) {
		for _, c := range []struct {
			off  int64
			size int
			want string
			err  error
		}{
			{0, 10, "0123456789", nil},
			{3, 4, "3456", nil},
			{8, 4, "89", io.EOF},
			{10, 4, "", io.EOF},
			{99, 4, "", io.EOF},
			{0, 0, "", nil},
		} {
			p := make([]byte, c.size)
			n, err := l.ReadAt(p, c.off)
			if string(p[:n]) != c.want || err != c.err { //nolint:errorlint // io.ReaderAt's callers compare
				t.Errorf("%s: %d bytes at %d: %q, %v", when, c.size, c.off, p[:n], err)
			}
		}
		if _, err := l.ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: a negative offset: %v", when, err)
		}
	}
	check("live")
	l.Finish()
	check("finished")
	mustAppend(t, l, 10, "late")
	if got := content(t, l); got != "0123456789late" {
		t.Errorf("after a late append: %q", got)
	}
	if err := os.Truncate(s.Path("job-1"), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadAt(make([]byte, 10), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a file that somebody cut: %v", err)
	}
}

// follower waits in a goroutine of its own. It is in a synctest bubble, whose Wait returns once the follower sleeps.
type follower struct {
	size     int64
	finished bool
	err      error
	done     chan struct{}
}

func follow(ctx context.Context, l *logfile.Log, off int64) *follower {
	f := &follower{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.size, f.finished, f.err = l.Wait(ctx, off, nil)
	}()
	synctest.Wait()
	return f
}

// woken checks that the follower sleeps no more, and with what it woke.
func (f *follower) woken(t *testing.T, size int64, finished bool, err error) {
	t.Helper()
	synctest.Wait()
	select {
	case <-f.done:
	default:
		t.Fatal("the follower still waits")
	}
	if f.size != size || f.finished != finished || !errors.Is(f.err, err) {
		t.Errorf("woken with %d, %v, %v", f.size, f.finished, f.err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir)
		l := s.Get("job-1")
		ctx, cancel := context.WithCancelCause(t.Context())
		left := errors.New("the client left")

		first, second, far, leaving := follow(ctx, l, 0), follow(ctx, l, 2), follow(t.Context(), l, 5), follow(ctx, l, 6)
		mustAppend(t, l, 0, "abc")
		first.woken(t, 3, false, nil)
		second.woken(t, 3, false, nil)
		follow(ctx, l, 2).woken(t, 3, false, nil)
		cancel(left)
		leaving.woken(t, 3, false, left)
		follow(ctx, l, 2).woken(t, 3, false, nil) // what is there is there
		if size, finished, err := l.Wait(t.Context(), 5, time.After(time.Hour)); size != 3 || finished || err != nil {
			t.Errorf("after an hour: %d, %v, %v", size, finished, err)
		}
		l.Finish()
		far.woken(t, 3, true, nil)
		follow(ctx, l, 99).woken(t, 3, true, nil)

		removed := follow(t.Context(), s.Get("job-2"), 0)
		if err := s.Remove("job-2"); err != nil {
			t.Fatal(err)
		}
		removed.woken(t, 0, false, logfile.ErrRemoved)
		closed := follow(t.Context(), s.Get("job-3"), 0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		closed.woken(t, 0, false, logfile.ErrClosed)
	})
}

// Finish closes the file that readers use.
func TestReadersAcrossFinish(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for i := range 300 {
		l := s.Get(fmt.Sprintf("job-%d", i))
		mustAppend(t, l, 0, "text")
		reading, done := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			p := make([]byte, 4)
			for n := 0; ; n++ {
				if _, err := l.ReadAt(p, 0); err != nil || string(p) != "text" {
					t.Errorf("read %q, %v", p, err)
				}
				if n == 0 {
					close(reading)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		<-reading
		l.Finish()
		close(done)
		wg.Wait()
	}
}

// Followers of a log that is written in pieces, some of them twice, get every byte once and in order, whenever they come.
func TestFollowers(t *testing.T) {
	t.Parallel()
	const followers = 50
	l := open(t, t.TempDir()).Get("job-1")
	ctx := deadline(t)
	r := rand.New(rand.NewPCG(1, 1))
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(r.IntN(256))
	}

	var wg sync.WaitGroup
	read := func(buffer int) {
		var got bytes.Buffer
		p := make([]byte, buffer)
		for {
			size, finished, err := l.Wait(ctx, int64(got.Len()), nil)
			if err != nil {
				t.Errorf("wait: %v", err)
				return
			}
			for int64(got.Len()) < size {
				n, err := l.ReadAt(p, int64(got.Len()))
				if err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("read: %v", err)
					return
				}
				got.Write(p[:n])
			}
			if finished {
				break
			}
		}
		if !bytes.Equal(want, got.Bytes()) {
			t.Errorf("a follower got %d bytes that are not the log's", got.Len())
		}
	}
	for i := range followers {
		wg.Go(func() { read(100 + 1000*i) })
	}
	for _, writer := range []uint64{1, 2} { // two that write the same
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, writer))
			for at := 0; at < len(want); {
				from := max(0, at-r.IntN(100))
				to := min(len(want), at+1+r.IntN(8000))
				if err := l.Append(int64(from), want[from:to]); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				at = to
			}
			l.Finish()
		})
	}
	wg.Wait()
	read(64 << 10)
}

const fullDiskDir = "LOGFILE_TEST_FULL_DISK_DIR"

// A disk that fills up: the limit of a process on the size of its files does the same to pwrite, half a chunk and an error.
func TestAppendToFullDisk(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t), exe)
	cmd.Env = append(os.Environ(), fullDiskDir+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fillDisk is TestAppendToFullDisk in a process of its own. It returns the exit code.
func fillDisk(dir string) int {
	err := func() error {
		s, err := logfile.Open(dir)
		if err != nil {
			return err
		}
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 6, Max: old.Max}); err != nil {
			return err
		}
		l := s.Get("job-1")
		if err := l.Append(0, []byte("0123456789")); !errors.Is(err, unix.EFBIG) {
			return fmt.Errorf("append to a full disk: %w", err)
		}
		if l.Size() != 6 {
			return fmt.Errorf("the log has %d bytes", l.Size())
		}
		if err := l.Append(0, []byte("0123456789")); !errors.Is(err, unix.EFBIG) {
			return fmt.Errorf("append to a full disk again: %w", err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		if err := l.Append(0, []byte("0123456789")); err != nil {
			return fmt.Errorf("append once there is room: %w", err)
		}
		data, err := os.ReadFile(s.Path("job-1"))
		if string(data) != "0123456789" {
			return fmt.Errorf("the file holds %q, %w", data, err)
		}
		return s.Close()
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestErrorsOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "job-1.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := s.Get("job-1").Append(s.Get("job-1").Size(), []byte("x"))
	if err == nil || !strings.Contains(err.Error(), "job-1") {
		t.Errorf("append where a directory is: %v", err)
	}
}

// What others do to the file of a log costs no byte: what is missing is asked for again.
func TestTheFileIsChangedByOthers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 2) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
		"added": func(path string) error {
			return os.WriteFile(path, []byte("first and more"), 0o600)
		},
	} {
		for _, atRest := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, at rest %v", name, atRest), func(t *testing.T) {
				t.Parallel()
				s, err := logfile.Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				l := s.Get("job-1")
				if err := l.Append(0, []byte("first")); err != nil {
					t.Fatal(err)
				}
				if atRest {
					l.Finish()
				}
				if err := change(s.Path("job-1")); err != nil {
					t.Fatal(err)
				}
				want := "first second"
				if atRest {
					if err := l.Check(5); err != nil {
						t.Fatal(err)
					}
					want = "first"
				} else if err := l.Append(5, []byte(" second")); err != nil {
					var gap *logfile.Gap
					if !errors.As(err, &gap) {
						t.Fatal(err)
					}
				}
				// The whole of it again, as it is fetched from the bus.
				if err := l.Append(0, []byte(want)); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(s.Path("job-1"))
				if err != nil || string(got) != want || l.Size() != int64(len(want)) {
					t.Errorf("%q (%v), size %d, want %q", got, err, l.Size(), want)
				}
				read := make([]byte, len(want))
				if n, err := l.ReadAt(read, 0); n != len(want) || string(read) != want {
					t.Errorf("read %q %v", read[:n], err)
				}
			})
		}
	}
}
