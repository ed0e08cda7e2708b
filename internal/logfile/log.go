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

	writing sync.Mutex // held over a whole Append, so that a slow disk stops no reader of mu

	mu       sync.Mutex
	loaded   bool // size is known
	size     int64
	finished bool
	file     *os.File      // while the log is live and the store allows it
	changed  chan struct{} // closed at the next change; nil while nobody waits
	gone     error         // why there is no file any more
}

// Size returns the number of bytes of the log: 0 where there is none, or it cannot be told.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.load()
	return l.size
}

// Append writes text, which begins at offset of the log. Bytes that the log has already are skipped, so that the same text
// may come again; where they differ, it is refused with ErrDiffers. Text that begins behind the end of the log is refused with a
// *Gap. After any other error, a full disk say, Size tells what was written, and the same call may be tried again.
func (l *Log) Append(offset int64, text []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()

	l.mu.Lock()
	err := l.load()
	size := l.size
	l.mu.Unlock()
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
	f, done, err := l.writer()
	if err != nil {
		return err
	}
	// Somebody may have cut the file or taken it away. Written at the old end, the text would come behind a hole.
	if changed, err := l.mend(f, size); changed || err != nil {
		done()
		if err != nil {
			return l.wrap(err)
		}
		return l.wrap(&Gap{Have: l.Size(), Offset: offset})
	}
	there := min(size-offset, int64(len(text)))
	if err := same(f, offset, text[:there]); err != nil {
		done()
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
	done()

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
		l.drop()
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
		if err := os.Truncate(l.path(), whole); err != nil {
			return l.wrap(err)
		}
		have = whole
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	if have < l.size {
		l.drop()
	}
	l.size, l.loaded = have, true
	return nil
}

// Finish says that the log is whole: no follower waits for more. It is remembered as long as the store is open, not on disk.
// An Append that comes all the same is not lost: it is written, and whoever reads again sees it.
func (l *Log) Finish() {
	l.writing.Lock() // not while an Append uses the file
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.drop()
	l.wake()
}

// ReadAt fills p with the bytes from off on. As in io.ReaderAt, fewer come with an error: io.EOF at the present end of the
// log, behind which more may follow.
func (l *Log) ReadAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	err := l.load()
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
	return f.ReadAt(p, off)
}

// Wait returns when the log has more than off bytes or is finished, with its size at that time, when idle, which may be nil, says
// so, with neither, or when ctx is done, with the cause of that. There may be many who wait, and each is woken by every Append:
// idle is a timer that is used again where a context with a timeout would be made each time.
func (l *Log) Wait(ctx context.Context, off int64, idle <-chan time.Time) (size int64, finished bool, err error) {
	for {
		l.mu.Lock()
		err = l.load()
		size, finished = l.size, l.finished
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

// load finds out the size of what an earlier process left. It needs mu.
func (l *Log) load() error {
	if l.gone != nil || l.loaded {
		return l.gone
	}
	info, err := os.Stat(l.path())
	switch {
	case err == nil:
		l.size = info.Size()
	case !errors.Is(err, os.ErrNotExist):
		return l.wrap(err)
	}
	l.loaded = true
	return nil
}

// writer returns the file to write to and what to call afterwards. It needs writing.
func (l *Log) writer() (f *os.File, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return nil, nil, l.gone
	}
	if l.file != nil {
		return l.file, func() {}, nil
	}
	f, err = os.OpenFile(l.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, l.wrap(err)
	}
	if !l.finished && l.store.keep() {
		l.file = f
		return f, func() {}, nil
	}
	return f, func() { _ = f.Close() }, nil // WriteAt has reported what went wrong
}

// end takes the log out of use for good. It returns why the log was so already.
func (l *Log) end(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	l.gone = l.wrap(why)
	l.drop()
	l.wake()
	return nil
}

// drop closes the file that is kept open. It needs mu.
func (l *Log) drop() {
	if l.file != nil {
		_ = l.file.Close() // WriteAt has reported what went wrong
		l.file = nil
		l.store.release()
	}
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
