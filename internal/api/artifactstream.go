package api

import (
	"context"
	"io"

	"netlab-runner/internal/artifact"
)

// ahead is how many pieces of a file are asked for before the client has taken the first: they hide the way to the host.
const ahead = 3

// artifactStream is a part of a file, of which a few pieces are in memory at a time. A Read fails where the file is not the same
// any more: the answer breaks off, and its client cannot take it for whole.
type artifactStream struct {
	cancel context.CancelFunc
	// pieces has, in order, where each piece will come.
	pieces <-chan chan piece
	now    []byte
}

type piece struct {
	data []byte
	err  error
}

// newArtifactStream reads length bytes from offset on. first are the bytes from there on that are there already.
func newArtifactStream(ctx context.Context, source *artifactSource, offset, length int64, first []byte) *artifactStream {
	ctx, cancel := context.WithCancel(ctx)
	first = first[:min(int64(len(first)), length)]
	pieces := make(chan chan piece, ahead-1)
	go func() {
		defer close(pieces)
		for at := offset + int64(len(first)); at < offset+length; at += artifact.PieceSize {
			next := make(chan piece, 1)
			select {
			case pieces <- next:
			case <-ctx.Done():
				return
			}
			size := int(min(artifact.PieceSize, offset+length-at))
			go func() {
				data, err := source.piece(ctx, at, size)
				next <- piece{data, err}
			}()
		}
	}()
	return &artifactStream{cancel: cancel, pieces: pieces, now: first}
}

// Read is as of any reader.
func (s *artifactStream) Read(p []byte) (int, error) {
	for len(s.now) == 0 {
		next, ok := <-s.pieces
		if !ok {
			return 0, io.EOF
		}
		came := <-next
		if came.err != nil {
			s.cancel()
			return 0, came.err
		}
		s.now = came.data
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

// Close gives up what is on its way. The server calls it when it has sent the answer, or cannot.
func (s *artifactStream) Close() error {
	s.cancel()
	return nil
}
