package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/logtext"
)

// partialDelay is how long a line without its end waits for it before it is published as it is.
const partialDelay = 100 * time.Millisecond

// spool publishes a job's log while its output file grows. The file is the buffer: while the bus is away nothing is held
// in memory but a block, and a later worker makes the same log from it again.
type spool struct {
	bus       *bus.Bus
	host, job string
	file      string
	text      *logtext.Text
	limit     *logtext.Limit

	// pending is text that is final and not yet published; skip is how much of what follows the bus has already, and known the end
	// of that. differs says that something else has followed: the output was cut while no worker was there.
	pending []byte
	skip    int64
	known   []byte
	differs bool
	// base is the offset in the log of what the output's first byte becomes: 0 but where the output was cut.
	base int64
	// published is the offset behind the last chunk on the bus, last that chunk's sequence.
	published atomic.Int64
	last      uint64
	log       *slog.Logger

	// ended is closed when the run has ended. From then on a stream that is full is waited for until giveUp, for patience, and
	// the log is cut off then, at cutAt.
	ended    <-chan struct{}
	patience time.Duration
	giveUp   time.Time
	cutAt    int64
	// refused says that it was said that the stream is full.
	refused bool
	// lost has a value when the bus may have lost what it had of the log.
	lost chan struct{}
}

const (
	// uncut is the cutAt of a log that is whole.
	uncut = -1
	// roomPause is between two looks whether a stream that is full has room.
	roomPause = time.Second
)

// errNoRoom ends the publishing of a log that was cut off, when the bus has no room even for the line that says so.
var errNoRoom = errors.New("the bus has no room for the log")

// errAgain ends a publishing that is to begin again.
var errAgain = errors.New("the bus may have lost some of the log")

// newSpool makes a spool whose log has at most limit bytes and then the worker's own lines; 0 is no limit.
func newSpool(b *bus.Bus, host, job, file string, secrets []string, limit int64) *spool {
	return &spool{bus: b, host: host, job: job, file: file, text: logtext.NewText(secrets), limit: logtext.NewLimit(limit), log: slog.New(slog.DiscardHandler), cutAt: uncut, lost: make(chan struct{}, 1)}
}

// resume finds out what the bus has of the log.
func (s *spool) resume(ctx context.Context) error {
	return s.bus.Retry(ctx, "log of job "+s.job, func(ctx context.Context) error {
		chunk, err := s.bus.LastChunk(ctx, s.host, s.job)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		// Where the output was cut, its first byte is at the base, also where the bus has lost what is before it: of others' logs nothing
		// is to change its place.
		s.published.Store(max(chunk.End(), s.base))
		s.skip, s.last = max(chunk.End()-s.base, 0), chunk.Seq
		s.known = chunk.Text[len(chunk.Text)-int(min(s.skip, int64(len(chunk.Text)))):]
		return nil
	})
}

// keep publishes until everything that the file has once ended is closed is on the bus, beginning again where it failed. known
// says that the bus may have some of the log.
func (s *spool) keep(ctx context.Context, ended <-chan struct{}, known bool, log *slog.Logger) error {
	s.log, s.ended = log, ended
	for {
		err := s.begin(ctx, known)
		if err == nil {
			err = s.run(ctx, ended)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, errNoRoom) {
			log.Error("the end of the log is left out", "error", err)
			return nil
		}
		if known = true; errors.Is(err, errAgain) {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) { // somebody has removed the job's folder
			err = errors.Join(err, os.MkdirAll(filepath.Dir(s.file), 0o711))
		}
		log.Error("log not published, beginning again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// stands says whether the bus has the log up to where it was published.
func (s *spool) stands(ctx context.Context) (stands bool, err error) {
	err = s.bus.Retry(ctx, "log of job "+s.job, func(ctx context.Context) error {
		end := int64(0)
		chunk, err := s.bus.LastChunk(ctx, s.host, s.job)
		switch {
		case err == nil:
			end = chunk.End()
		case !errors.Is(err, bus.ErrNotFound):
			return err
		}
		stands = max(end, s.base) == s.published.Load()
		return nil
	})
	return stands, err
}

// again has the log published once more, where the bus has not what it had of it.
func (s *spool) again() {
	select {
	case s.lost <- struct{}{}:
	default:
	}
}

// begin sets the spool to the beginning of the file and to the end of what the bus has.
func (s *spool) begin(ctx context.Context, known bool) error {
	s.text.Reset()
	s.pending, s.skip, s.last = s.pending[:0], 0, 0
	s.known, s.differs = nil, false
	var err error
	if s.base, err = loadOffset(s.file+baseSuffix, 0); err != nil {
		return err
	}
	s.published.Store(s.base)
	if s.cutAt, err = loadOffset(s.file+cutSuffix, uncut); err != nil {
		return err
	}
	if s.cutAt != uncut {
		s.limit = logtext.NewCut(s.cutAt)
	}
	s.limit.Reset(s.base)
	if !known {
		return nil
	}
	return s.resume(ctx)
}

// run publishes until everything that the file has once ended is closed is on the bus.
func (s *spool) run(ctx context.Context, ended <-chan struct{}) error {
	output, err := os.OpenFile(s.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	changes := watch(s.file)
	defer changes.stop()
	block := make([]byte, logtext.ChunkSize)
	from, gone := &source{file: output}, &holes{file: output}
	partial := time.NewTimer(partialDelay)
	defer partial.Stop()
	final, flush, armed := false, false, true
	var end int64 // of the output, once it is final
	for {
		// Also while there is always more: children that live on may write without an end.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			// Read once more: what was written before the end may not have been seen.
			final, ended = true, nil
			if end, err = output.Seek(0, io.SeekEnd); err != nil {
				return err
			}
		default:
		}
		n, err := from.read(block)
		cut := errors.Is(err, errCut)
		if err != nil && !cut && !errors.Is(err, io.EOF) {
			return err
		}
		if n > 0 {
			s.take(block[:n], from, gone)
		}
		over := !cut && final && (n == 0 || from.pos >= end)
		if cut || over {
			s.close() // whatever waits
		}
		if cut || s.isOther(n == 0 || over) {
			if err := s.startOver(ctx, from); err != nil {
				return err
			}
			*gone = holes{file: output}
			if end, err = output.Seek(0, io.SeekEnd); err != nil {
				return err
			}
			continue
		}
		if over {
			return s.publish(ctx, true)
		}
		if err := s.publish(ctx, flush); err != nil {
			return err
		}
		flush = false
		if n > 0 {
			continue
		}
		switch {
		case len(s.pending) == 0:
			partial.Stop()
			armed = false
		case !armed:
			partial.Reset(partialDelay)
			armed = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
		case <-s.lost:
			return errAgain
		case <-changes.events:
		case <-changes.faults: //nolint:errcheck // whatever it is, looking is the answer
		case <-changes.look:
		case <-partial.C:
			flush, armed = true, false
		}
	}
}

// isOther says whether the output is not the one of which the bus has the log, for all that was read of it. atEnd: it has no more
// for now. Of a log that was cut off it is not told: nothing of such an output is to be shown any more.
func (s *spool) isOther(atEnd bool) bool {
	if s.cutAt != uncut {
		return false
	}
	return s.differs || atEnd && s.skip > 0 && !s.text.Waiting() && !s.limit.Waiting()
}

// startOver goes on with an output that was cut: what is in it now follows what was in it before.
func (s *spool) startOver(ctx context.Context, from *source) error {
	if s.differs {
		s.pending = s.pending[:0] // it is of what is in it now
	}
	if err := s.publish(ctx, true); err != nil {
		return err
	}
	s.base = s.published.Load()
	if err := saveOffset(s.file+baseSuffix, s.base); err != nil {
		return err
	}
	s.text.Reset()
	s.limit.Reset(s.base)
	s.skip, s.known, s.differs = 0, nil, false
	from.restart()
	return say(s.file, "a program of the job truncated the output (by `> /dev/stderr`, say): lines may be missing above; let it append (`>> /dev/stderr` or `>&2`)")
}

// take makes log of a block of the output, which ends where from stands, and lets go what is beyond the log's limit.
func (s *spool) take(block []byte, from *source, gone *holes) {
	text := s.limit.Write(s.text.Write(block))
	s.add(text)
	if len(text) > 0 || !s.limit.Over() || s.limit.Waiting() {
		gone.passed(from.pos)
		return
	}
	gone.dropped(from.pos, s.log)
	if next := gone.skip(from.pos); next > from.pos {
		// A hole reads as NUL bytes, and any number of them does what one does: they are no part of a line of the worker's.
		s.add(s.limit.Write(s.text.Write([]byte{0})))
		from.jump(next)
	}
}

// close ends the text of the output.
func (s *spool) close() {
	s.add(s.limit.Write(s.text.Close()))
	s.add(s.limit.Close())
}

// add takes in text, without what the bus has already.
func (s *spool) add(text []byte) {
	there := text[:min(s.skip, int64(len(text)))]
	s.compare(there)
	s.skip -= int64(len(there))
	s.pending = append(s.pending, text[len(there):]...)
}

// compare holds text that the bus should have against what it has. More than its last chunk is not known.
func (s *spool) compare(text []byte) {
	text = text[min(s.skip-int64(len(s.known)), int64(len(text))):]
	s.differs = s.differs || !bytes.HasPrefix(s.known, text)
	s.known = s.known[min(len(text), len(s.known)):]
}

// publish sends what is pending in chunks of whole lines, and with all also the line that has no end yet.
func (s *spool) publish(ctx context.Context, all bool) error {
	for {
		size := logtext.Chunk(s.pending, all)
		if size == 0 {
			return nil
		}
		chunk := &bus.Chunk{Host: s.host, Job: s.job, Offset: s.published.Load(), Text: s.pending[:size]}
		seq, err := s.bus.PublishLog(ctx, chunk, s.last)
		if errors.Is(err, bus.ErrFull) {
			if err := s.awaitRoom(ctx, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		s.giveUp, s.refused = time.Time{}, false
		s.last = seq
		s.published.Store(chunk.End())
		s.pending = s.pending[:copy(s.pending, s.pending[size:])]
	}
}

// awaitRoom waits a moment for room in a stream that is full. While the run goes on its output keeps what it writes. Once it has
// ended, its job is not to wait for ever.
func (s *spool) awaitRoom(ctx context.Context, full error) error {
	if !s.refused {
		s.refused = true
		s.log.Warn("log not published, trying again", "error", full, "remedy", "NETLAB_BUS_LOGS_BYTES")
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(roomPause):
	}
	select {
	case <-s.ended:
	default:
		return nil
	}
	switch now := time.Now(); {
	case s.giveUp.IsZero():
		s.giveUp = now.Add(s.patience)
	case now.Before(s.giveUp):
	case s.cutAt != uncut:
		return errNoRoom
	default:
		// On the disk before the line that says so is on the bus: a later worker makes the same log.
		if err := saveOffset(s.file+cutSuffix, s.published.Load()); err != nil {
			return err
		}
		return errAgain
	}
	return nil
}

// cutWarning says for the job that its log was cut off, empty where it was not.
func (s *spool) cutWarning() string {
	if s.cutAt == uncut {
		return ""
	}
	return fmt.Sprintf("the log is cut off at %d bytes: the bus had no room for the rest (NETLAB_BUS_LOGS_BYTES)", s.cutAt)
}

// say appends a line of the worker's own to the output, at the beginning of a line. The line that it ends with already is
// not said again: a worker that comes back says what the one before it has said.
func say(file, format string, args ...any) error {
	line := fmt.Sprintf(logtext.Own+format, args...)
	out, err := os.OpenFile(filepath.Clean(file), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	text := append(bytes.ReplaceAll([]byte(line), []byte("\n"), []byte("\n"+logtext.Own)), '\n')
	last := make([]byte, 1)
	if info, err := out.Stat(); err == nil && info.Size() > 0 {
		if _, err := out.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			text = append([]byte{'\n'}, text...)
		}
	}
	if said(out, text) {
		return out.Close()
	}
	_, err = out.Write(text)
	return errors.Join(err, out.Close())
}

// said says whether the output ends with the text.
func said(out *os.File, text []byte) bool {
	info, err := out.Stat()
	if err != nil || info.Size() < int64(len(text)) {
		return false
	}
	end := make([]byte, len(text))
	_, err = out.ReadAt(end, info.Size()-int64(len(text)))
	return err == nil && bytes.Equal(end, text)
}
