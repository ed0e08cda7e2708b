package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Log is the log of one job. It only grows, and a byte once there never changes.
type Log struct {
	store *Store
	id    string

	// removing is closed when the file is gone that an earlier log of the same id has left; nil where there is none.
	removing <-chan struct{}

	writing sync.Mutex // held over a whole Append

	// mu is held for no disk: a caller may hold locks of its own, and one log's disk that hangs is to stop nothing else.
	mu       sync.Mutex
	loaded   bool // size is known
	size     int64
	finished bool
	file     *os.File      // while the log is live and the store allows it
	busy     bool          // file is being written to
	changed  chan struct{} // closed at the next change; nil while nobody waits
	gone     error         // why there is no file any more
}

// Size returns the number of bytes of the log. It asks no disk: of what an earlier process has left it knows when Load does, or anything
// else that reads or writes the log.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Append writes text, which begins at offset of the log. Bytes that the log has already are skipped, so that the same text
// may come again; where they differ, it is refused with ErrDiffers. Text that begins behind the end of the log is refused with a
// *Gap. After any other error, a full disk say, Size tells what was written, and the same call may be tried again.
func (l *Log) Append(offset int64, text []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()

	err := l.Load()
	size := l.Size()
	switch {
	case err != nil:
		return err
	case offset < 0:
		return l.wrap(fmt.Errorf("offset %d is negative", offset))
	case offset > size:
		return l.wrap(&Gap{Have: size, Offset: offset})
	case len(text) == 0:
		return nil
	}
	f, err := l.writer()
	if err != nil {
		return err
	}
	defer l.rest(f)
	// Somebody may have cut the file or taken it away. Written at the old end, the text would come behind a hole.
	if changed, err := l.mend(f, size); changed || err != nil {
		if err != nil {
			return l.wrap(err)
		}
		return l.wrap(&Gap{Have: l.Size(), Offset: offset})
	}
	there := min(size-offset, int64(len(text)))
	if err := same(f, offset, text[:there]); err != nil {
		return l.wrap(err)
	}
	text = text[there:]
	n, err := f.WriteAt(text, size)
	if err != nil {
		// WriteAt does not count what it wrote before the error.
		if info, statErr := f.Stat(); statErr == nil {
			n = int(info.Size() - size)
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	if n > 0 {
		l.size += int64(n)
		l.wake()
	}
	if err != nil {
		return l.wrap(err)
	}
	return nil
}

// same returns ErrDiffers where the file has another text at offset.
func same(f *os.File, offset int64, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	have := make([]byte, len(text))
	if _, err := f.ReadAt(have, offset); err != nil {
		return err
	}
	if !bytes.Equal(have, text) {
		return ErrDiffers
	}
	return nil
}

// mend compares the file that is about to be written with its known size. changed: it has lost bytes, and the size is now
// what is left. What was added by others is cut off. It needs writing.
func (l *Log) mend(f *os.File, size int64) (changed bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.detach()
		l.size = 0
		return true, nil
	}
	switch have := info.Size(); {
	case have > size:
		return false, f.Truncate(size)
	case have < size:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.size = have
		return true, nil
	}
	return false, nil
}

// Check compares a log that is to have no more than whole bytes with its file, which others may have changed: the size is
// what the file has, and what is beyond whole is cut off.
func (l *Log) Check(whole int64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.awaitRemoval()
	info, err := os.Stat(l.path())
	if errors.Is(err, os.ErrNotExist) {
		info, err = nil, nil
	}
	if err != nil {
		return l.wrap(err)
	}
	var have int64
	if info != nil {
		have = info.Size()
	}
	if have > whole {
		if err := l.cut(whole); err != nil {
			return err
		}
		have = whole
	}
	l.mu.Lock()
	gone, lost := l.gone, (*os.File)(nil)
	if gone == nil {
		if have < l.size {
			lost = l.detach()
		}
		l.size, l.loaded = have, true
	}
	l.mu.Unlock()
	_ = lost.Close() // WriteAt has reported what went wrong; none is no harm
	return gone
}

// cut cuts off what the file has beyond size. It needs writing.
func (l *Log) cut(size int64) error {
	f, err := os.OpenFile(l.path(), os.O_WRONLY, 0)
	if err != nil {
		return l.reason(err)
	}
	defer func() { _ = f.Close() }() // Truncate has reported what went wrong
	if err := l.isGone(); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return l.wrap(err)
	}
	return nil
}

// isGone returns why there is no log any more. It is asked behind each opening: of a log that is gone the file of that name may be the
// next one's, and what was opened before is not.
func (l *Log) isGone() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// Finish says that the log is whole: no follower waits for more. It is remembered as long as the store is open, not on disk.
// An Append that comes all the same is not lost: it is written, and whoever reads again sees it.
func (l *Log) Finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.letGo()
	l.wake()
}

// letGo closes the file that is kept open, unless it is being written to. It needs mu.
func (l *Log) letGo() {
	if l.busy {
		return
	}
	if f := l.detach(); f != nil {
		go func() { _ = f.Close() }() // WriteAt has reported what went wrong
	}
}

// ReadAt fills p with the bytes from off on. As in io.ReaderAt, fewer come with an error: io.EOF at the present end of the
// log, behind which more may follow.
func (l *Log) ReadAt(p []byte, off int64) (int, error) {
	err := l.Load()
	l.mu.Lock()
	size, f := l.size, l.file
	l.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case off < 0:
		return 0, l.wrap(fmt.Errorf("offset %d is negative", off))
	case len(p) == 0:
		return 0, nil
	case off >= size:
		return 0, io.EOF
	}
	// An Append at work may have put more into the file than Size says.
	end := error(nil)
	if left := size - off; int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	n := 0
	if f != nil {
		n, err = f.ReadAt(p, off)
	}
	if f == nil || errors.Is(err, os.ErrClosed) { // closed meanwhile by Finish
		n, err = l.readClosed(p, off)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the file is shorter than it was: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return n, l.reason(err)
	}
	return n, end
}

func (l *Log) readClosed(p []byte, off int64) (int, error) {
	f, err := os.Open(l.path())
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	if err := l.isGone(); err != nil {
		return 0, err
	}
	return f.ReadAt(p, off)
}

// Wait returns when the log has more than off bytes or is finished, with its size at that time, when idle, which may be nil, says
// so, with neither, or when ctx is done, with the cause of that. There may be many who wait, and each is woken by every Append:
// idle is a timer that is used again where a context with a timeout would be made each time.
func (l *Log) Wait(ctx context.Context, off int64, idle <-chan time.Time) (size int64, finished bool, err error) {
	if err := l.Load(); err != nil {
		return 0, false, err
	}
	for {
		l.mu.Lock()
		size, finished, err = l.size, l.finished, l.gone
		if err != nil || size > off || finished {
			l.mu.Unlock()
			return size, finished, err
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()

		select {
		case <-changed:
		case <-idle:
			return size, false, nil
		case <-ctx.Done():
			return size, false, context.Cause(ctx)
		}
	}
}

// Load finds out the size of what an earlier process has left. It returns why there is no log any more, or the disk's error.
func (l *Log) Load() error {
	l.mu.Lock()
	loaded, gone := l.loaded, l.gone
	l.mu.Unlock()
	if loaded || gone != nil {
		return gone
	}
	info, err := os.Stat(l.path())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return l.reason(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && !l.loaded { // else it has been written to since
		l.size = info.Size()
	}
	l.loaded = true
	return l.gone
}

// writer returns the file to write to, to be given to rest afterwards. It needs writing.
func (l *Log) writer() (*os.File, error) {
	l.awaitRemoval()
	l.mu.Lock()
	f, gone := l.file, l.gone
	l.busy = f != nil
	l.mu.Unlock()
	if f != nil || gone != nil {
		return f, gone
	}
	f, err := l.openFile()
	if errors.Is(err, os.ErrNotExist) && l.store.makeDir() == nil { // somebody has removed it
		f, err = l.openFile()
	}
	if err != nil {
		return nil, l.reason(err)
	}
	l.mu.Lock()
	gone = l.gone
	if gone == nil && !l.finished && l.store.keep() {
		l.file, l.busy = f, true
	}
	l.mu.Unlock()
	if gone != nil {
		_ = f.Close() // nothing was written
		return nil, gone
	}
	return f, nil
}

func (l *Log) openFile() (*os.File, error) {
	return os.OpenFile(l.path(), os.O_RDWR|os.O_CREATE, 0o600)
}

// rest takes back what writer has returned. It stays open for the next Append while the log is live.
func (l *Log) rest(f *os.File) {
	l.mu.Lock()
	l.busy = false
	if l.finished {
		l.detach()
	}
	kept := l.file == f
	l.mu.Unlock()
	if !kept {
		_ = f.Close() // WriteAt has reported what went wrong
	}
}

// awaitRemoval returns when the path is this log's.
func (l *Log) awaitRemoval() {
	if l.removing != nil {
		<-l.removing
	}
}

// retire takes the log out of use for good, and returns the file to be closed, nil where there is none.
func (l *Log) retire(why error) *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone == nil {
		l.gone = l.wrap(why)
		l.wake()
	}
	return l.detach()
}

// detach takes the file away that is kept open, for the caller to close; nil where there is none. It needs mu.
func (l *Log) detach() *os.File {
	f := l.file
	if f != nil {
		l.file = nil
		l.store.release()
	}
	return f
}

// wake lets every Wait look again. It needs mu.
func (l *Log) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// reason returns why the log is gone, where that explains err.
func (l *Log) reason(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	return l.wrap(err)
}

func (l *Log) path() string { return l.store.Path(l.id) }

func (l *Log) wrap(err error) error {
	return fmt.Errorf("log of job %s: %w", l.id, err)
}
