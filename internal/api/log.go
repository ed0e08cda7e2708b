package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/logfile"
	"netlab-runner/internal/view"
)

const (
	// fillTimeout bounds what a request waits for a log that has to be fetched from the bus.
	fillTimeout = 10 * time.Second
	// lagTimeout is how long a log may take to reach an offset that its client has from another API.
	lagTimeout = 250 * time.Millisecond
)

// getLog gives a job's log in one of its three forms.
func (s *Server) getLog(c *fiber.Ctx) error {
	q, err := logQueryOf(c, s.config.LogDefault)
	if err != nil {
		return err
	}
	id := s.jobID(c)
	// The state before the log: where it is terminal, the log that is read afterwards is whole.
	job, err := s.shown(id)
	if err != nil {
		return err
	}
	log, err := s.logOf(id)
	if err != nil {
		return err
	}
	behind, err := s.seek(log, job, q.offset)
	if err != nil {
		return err
	}
	if behind && (q.form == logJSON || !q.follow) {
		return failed(http.StatusServiceUnavailable, "offset: this API has the log up to %d and is behind", log.Size())
	}
	if c.Method() == fiber.MethodHead {
		c.Set(fiber.HeaderContentType, q.form.contentType())
		return nil
	}
	if q.form == logJSON {
		return s.logDocument(c, log, q.offset, job.State)
	}
	f := follower{
		log: log, job: func() (view.Shown, error) { return s.shown(id) },
		conn: connOf(c), running: s.running, heartbeat: s.config.Heartbeat, offset: q.offset,
	}
	if q.form == logEvents {
		return s.stream(c, q.form, -1, s.counted(c, &eventStream{follower: f}))
	}
	if q.follow {
		return s.stream(c, q.form, -1, s.counted(c, &textStream{f}))
	}
	length := max(log.Size()-q.offset, 0)
	return s.stream(c, q.form, int(length), filled{io.NewSectionReader(log, q.offset, length)})
}

// stream is sendStream of a form of logs: what there is is sent at once, in large blocks.
func (s *Server) stream(c *fiber.Ctx, form logForm, length int, from source) error {
	c.Set(fiber.HeaderContentType, form.contentType())
	c.Set(fiber.HeaderCacheControl, "no-cache, no-transform")
	c.Set("X-Accel-Buffering", "no")
	// The headers leave now, and not with the first byte of a log that may be hours away.
	c.Response().ImmediateHeaderFlush = true
	chunked := length < 0
	if chunked && !c.Request().Header.IsHTTP11() {
		s.sendStream(c, from, length) // unchunk sends it
		return nil
	}
	c.Response().SetBodyStream(&blockStream{
		survivor: survivor{s, from}, source: from, conn: c.Context().Conn(), blocks: s.blocks, chunked: chunked,
	}, length)
	return nil
}

func (s *Server) logOf(id string) (*logfile.Log, error) {
	ctx, cancel := context.WithTimeout(s.running, fillTimeout)
	defer cancel()
	log, err := s.config.View.Log(ctx, id)
	switch {
	case errors.Is(err, view.ErrUnknown):
		return nil, noSuchJob(id)
	case err != nil && !errors.Is(err, bus.ErrUnavailable) && ctx.Err() == nil:
		return nil, logFault(err)
	}
	return log, err
}

// logFault is an error of the API's own file.
func logFault(err error) error {
	switch {
	case errors.Is(err, logfile.ErrClosed):
		return err
	case errors.Is(err, logfile.ErrRemoved):
		return failed(http.StatusNotFound, "%v", err)
	default:
		return failed(http.StatusServiceUnavailable, "the API's disk: %v", err)
	}
}

// seek checks that the log can be read from the offset on. behind says that it has not come that far here, and may have at another
// API: who follows it is told what comes when it comes.
func (s *Server) seek(log *logfile.Log, job view.Shown, offset int64) (behind bool, err error) {
	size := log.Size()
	if offset > size && !job.State.Terminal() {
		ctx, cancel := context.WithTimeout(s.running, lagTimeout)
		defer cancel()
		if size, _, _ = log.Wait(ctx, offset-1, nil); offset > size && s.isBehind(job, offset) {
			return true, nil
		}
	}
	if offset > size {
		return false, failed(http.StatusRequestedRangeNotSatisfiable, "offset: %d is past the end of the log, which has %d bytes", offset, size)
	}
	var first [1]byte
	if offset == 0 || offset == size {
		return false, nil
	}
	if _, err := log.ReadAt(first[:], offset); err != nil && !errors.Is(err, io.EOF) {
		return false, logFault(err)
	}
	if !utf8.RuneStart(first[0]) {
		return false, failed(http.StatusRequestedRangeNotSatisfiable, "offset: %d is inside of a character: use an offset that an answer gave", offset)
	}
	return false, nil
}

// isBehind says whether the log has the offset elsewhere. Where the bus cannot tell, the client knows better.
func (s *Server) isBehind(job view.Shown, offset int64) bool {
	ctx, cancel := context.WithTimeout(s.running, busTimeout)
	defer cancel()
	chunk, err := s.config.Bus.LastChunk(ctx, job.Host, job.ID)
	if err != nil {
		return !errors.Is(err, bus.ErrNotFound)
	}
	return chunk.End() >= offset
}

// smallLog is the size up to which a log in JSON is one answer with its length. A larger one is a stream.
const smallLog = 256 << 10

// logDocument answers with the log from offset on, as far as there is one: {"log","offset","state"}.
func (s *Server) logDocument(c *fiber.Ctx, log *logfile.Log, offset int64, state jobs.State) error {
	document, size, err := newLogDocument(log, offset, state)
	if err != nil {
		return logFault(err)
	}
	if size > smallLog {
		return s.stream(c, logJSON, -1, filled{document})
	}
	var body bytes.Buffer
	body.Grow(int(size + size/8 + bytes.MinRead)) // with room for what is escaped
	if _, err := body.ReadFrom(document); err != nil {
		return logFault(fmt.Errorf("reading: %w", err))
	}
	c.Set(fiber.HeaderContentType, logJSON.contentType())
	return c.Send(body.Bytes())
}
