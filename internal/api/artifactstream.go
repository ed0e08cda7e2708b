package api

import (
	"context"
	"io"
	"sync"

	"netlab-runner/internal/artifact"
)

const (
	// ahead is how many pieces of a file are asked for before the client has taken the first: they hide the way to the host.
	ahead = 3
	// quickStreams is how many answers at once read ahead, in whole pieces: about 2 MiB each.
	quickStreams = 64
	// slowPiece is the size of the pieces of all further ones, each of which has at most three in memory.
	slowPiece = 32 << 10
)

// pace is how much of a file one answer has in memory.
type pace struct {
	piece, ahead int
	// end gives up the place among the quick ones.
	end func()
}

func (s *Server) newPace() pace {
	select {
	case s.quick <- struct{}{}:
		return pace{artifact.PieceSize, ahead, sync.OnceFunc(func() { <-s.quick })}
	default:
		return pace{slowPiece, 1, func() {}}
	}
}

// artifactStream is a part of a file, of which a few pieces are in memory at a time. A Read fails where the file is not the same
// any more: the answer breaks off, and its client cannot take it for whole.
type artifactStream struct {
	cancel context.CancelFunc
	pace   pace
	// pieces has, in order, where each piece will come.
	pieces <-chan chan piece
	now    []byte
	// left is how much is to come behind now; cause is why nothing comes any more.
	left  int64
	cause func() error
}

type piece struct {
	data []byte
	err  error
}

// newArtifactStream reads length bytes from offset on. first are the bytes from there on that are there already.
func newArtifactStream(ctx context.Context, source *artifactSource, pace pace, offset, length int64, first []byte) *artifactStream {
	ctx, cancel := context.WithCancel(ctx)
	first = first[:min(int64(len(first)), length)]
	pieces := make(chan chan piece, pace.ahead-1)
	go func() {
		defer close(pieces)
		for at := offset + int64(len(first)); at < offset+length; at += int64(pace.piece) {
			next := make(chan piece, 1)
			select {
			case pieces <- next:
			case <-ctx.Done():
				return
			}
			size := int(min(int64(pace.piece), offset+length-at))
			go func() {
				var p piece
				defer func() { next <- p }()
				defer source.server.survive(&p.err)
				p.data, p.err = source.piece(ctx, at, size)
			}()
		}
	}()
	return &artifactStream{
		cancel: cancel, pace: pace, pieces: pieces, now: first,
		left: length - int64(len(first)), cause: func() error { return context.Cause(ctx) },
	}
}

// Read is as of any reader.
func (s *artifactStream) Read(p []byte) (int, error) {
	for len(s.now) == 0 {
		next, ok := <-s.pieces
		switch {
		case !ok && s.left > 0:
			return 0, s.cause()
		case !ok:
			return 0, io.EOF
		}
		came := <-next
		if came.err != nil {
			s.cancel()
			return 0, came.err
		}
		s.now = came.data
		s.left -= int64(len(came.data))
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

// Close gives up what is on its way.
func (s *artifactStream) Close() error {
	s.cancel()
	s.pace.end()
	return nil
}
