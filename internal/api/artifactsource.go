package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// errChanged is a file that is not the one any more of which a part was sent.
var errChanged = errors.New("the file was changed while it was sent")

const (
	// pieceTimeout is how long a piece is waited for, and pieceFor how long in all: the host's worker, or the bus, may just be
	// starting anew.
	pieceTimeout = 5 * time.Second
	pieceFor     = 20 * time.Second
	piecePause   = 500 * time.Millisecond
	// settleTries is how often the begin of a file is read that is just being written, settlePause the time in between.
	settleTries = 3
	settlePause = 50 * time.Millisecond
)

// artifactSource reads one file of a job, piece by piece: on its host, or where it was kept.
type artifactSource struct {
	server *Server
	host   string
	job    string
	place  artifact.Place
	path   string
	// kept is the copy; nil: there is none.
	kept *bus.KeptFile
	// etag is the file whose pieces are read.
	etag string
}

// sourceOf is where the file of a job is read: what was kept is what the job has left, whatever its host has there now.
func (s *Server) sourceOf(job *jobs.Job, path string) (*artifactSource, error) {
	a := &artifactSource{server: s, host: job.Host, job: job.ID, place: placeOf(job), path: path}
	kept, err := s.keptOf(job)
	if err != nil {
		return nil, err
	}
	for i := range kept {
		if kept[i].Path == path {
			a.kept = &kept[i]
		}
	}
	return a, nil
}

// begin reads up to length bytes of the file's start, and what it is. Its error is for the client.
func (a *artifactSource) begin(length int) (head artifact.Head, first []byte, err error) {
	ctx, cancel := context.WithTimeout(a.server.running, askTimeout)
	defer cancel()
	for range settleTries {
		head, first, err = a.ask(ctx, 0, length)
		if a.kept != nil && errors.Is(err, bus.ErrNotFound) {
			a.kept = nil // it was lost there; the host may have the file still
			head, first, err = a.ask(ctx, 0, length)
		}
		if err != nil || head.Status != artifact.Changed {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(settlePause):
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
		return head, nil, failed(http.StatusServiceUnavailable, "path: %s on host %s is just being written: ask again", shown(a.path), a.host)
	default:
		return head, nil, failed(http.StatusServiceUnavailable, "host %s: its answer cannot be read: status %q", a.host, shown(string(head.Status)))
	}
}

// piece reads bytes from the middle of the file. An error is the end of the answer that is being sent.
func (a *artifactSource) piece(ctx context.Context, offset int64, length int) ([]byte, error) {
	for end := time.Now().Add(pieceFor); ; {
		attempt, cancel := context.WithTimeout(ctx, pieceTimeout)
		head, data, err := a.ask(attempt, offset, length)
		cancel()
		switch {
		case err == nil && head.Status == artifact.Found:
			return data, nil
		case err == nil:
			return nil, errChanged
		case !isAway(err) || time.Now().After(end):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(piecePause):
		}
	}
}

// isAway says whether a host could not be asked, and may be later.
func isAway(err error) bool {
	return errors.Is(err, bus.ErrHostAway) || errors.Is(err, bus.ErrUnavailable)
}

func (a *artifactSource) ask(ctx context.Context, offset int64, length int) (artifact.Head, []byte, error) {
	if a.kept != nil {
		return a.copied(ctx, offset, length)
	}
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

// copied reads from the copy.
func (a *artifactSource) copied(ctx context.Context, offset int64, length int) (artifact.Head, []byte, error) {
	head := artifact.Head{Status: artifact.Found, ETag: a.kept.ETag, Bytes: a.kept.Bytes, Modified: a.kept.Modified}
	end := min(offset+int64(length), head.Bytes)
	var data []byte
	for at := offset; at < end; at = offset + int64(len(data)) {
		n := at / bus.PieceSize
		piece, err := a.server.config.Bus.KeptPiece(ctx, a.host, a.job, a.kept, int(n))
		if err != nil {
			return head, nil, err
		}
		from := at - n*bus.PieceSize
		data = append(data, piece[from:min(int64(len(piece)), from+end-at)]...)
	}
	return head, data, nil
}
