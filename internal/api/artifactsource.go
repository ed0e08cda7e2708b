package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/bus"
)

// errChanged is a file that is not the one any more of which a part was sent.
var errChanged = errors.New("the file was changed while it was sent")

const (
	// pieceTries is how often a piece is asked for of a host that does not answer: its worker may just be starting anew.
	pieceTries = 4
	// pieceTimeout is how long each time.
	pieceTimeout = 5 * time.Second
	// settleTries is how often the begin of a file is read that is just being written.
	settleTries = 3
)

// artifactSource reads one file of a job, piece by piece.
type artifactSource struct {
	server *Server
	host   string
	place  artifact.Place
	path   string
	// etag is the file whose pieces are read.
	etag string
}

// begin reads up to length bytes of the file's start, and what it is. Its error is for the client.
func (a *artifactSource) begin(length int) (head artifact.Head, first []byte, err error) {
	for range settleTries {
		ctx, cancel := context.WithTimeout(a.server.running, askTimeout)
		head, first, err = a.ask(ctx, 0, length)
		cancel()
		if err != nil || head.Status != artifact.Changed {
			break
		}
	}
	if err != nil {
		return head, nil, hostAway(err)
	}
	switch head.Status {
	case artifact.Found:
		return head, first, nil
	case artifact.Gone:
		return head, nil, failed(http.StatusNotFound, "path: %s not found: there is no such file below %s on host %s", shown(a.path), a.place.Workdir, a.host)
	case artifact.Denied:
		return head, nil, failed(http.StatusForbidden, "path: %s cannot be read on host %s: %s", shown(a.path), a.host, head.Text)
	case artifact.Changed:
		return head, nil, failed(http.StatusServiceUnavailable, "path: %s on host %s is just being written", shown(a.path), a.host)
	default:
		return head, nil, failed(http.StatusServiceUnavailable, "host %s: its answer cannot be read: status %q", a.host, shown(string(head.Status)))
	}
}

// piece reads bytes from the middle of the file. An error is the end of the answer that is being sent.
func (a *artifactSource) piece(ctx context.Context, offset int64, length int) ([]byte, error) {
	for try := 1; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, pieceTimeout)
		head, data, err := a.ask(attempt, offset, length)
		cancel()
		switch {
		case err != nil && isAway(err) && try < pieceTries && ctx.Err() == nil:
			if err := rest(ctx, pieceTimeout); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case head.Status != artifact.Found:
			return nil, errChanged
		default:
			return data, nil
		}
	}
}

// rest waits, or returns why it does not.
func rest(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}

func (a *artifactSource) ask(ctx context.Context, offset int64, length int) (artifact.Head, []byte, error) {
	q := artifact.Question{Place: a.place, Path: a.path, Offset: offset, Length: length, ETag: a.etag}
	answer, err := a.server.config.Bus.Ask(ctx, a.host, "artifact", q)
	if err != nil {
		return artifact.Head{}, nil, err
	}
	head, data, err := artifact.DecodePiece(&q, answer)
	if err != nil {
		err = &bus.HostError{Host: a.host, Text: "its answer cannot be read: " + err.Error()}
	}
	return head, data, err
}
