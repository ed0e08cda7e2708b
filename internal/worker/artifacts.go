package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"netlab-runner/internal/account"
	"netlab-runner/internal/artifact"
)

// walkTime bounds a list of artifacts.
const walkTime = 3 * time.Second

// artifacts answers an artifact.Place with an artifact.List: the regular files below the working directory, as its user sees
// them. There are none where there is no directory.
func (w *Worker) artifacts(ctx context.Context, question []byte) ([]byte, error) {
	var q artifact.Place
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("artifacts: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	list, err := looked(ctx, w.looks, q.Workdir, func() (list artifact.List, err error) {
		err = w.inWorkdir(&q, func(dir *os.Root) error {
			list = walk(ctx, dir, walkLimits)
			return nil
		})
		return list, err
	})
	var refused *invalidError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		list = artifact.List{Files: []artifact.File{}}
	case errors.As(err, &refused), errors.Is(err, fs.ErrPermission):
		list = artifact.List{Files: []artifact.File{}, Denied: err.Error()}
	case err != nil:
		return nil, fmt.Errorf("artifacts: %w", err)
	}
	return json.Marshal(list)
}

// artifact answers an artifact.Question with a piece of a file. What the file may be is said in the piece's head; an error is
// the host's.
func (w *Worker) artifact(ctx context.Context, question []byte) ([]byte, error) {
	var q artifact.Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("artifact: %w", err)
	}
	if q.Length < 0 || q.Length > artifact.PieceSize || q.Offset < 0 {
		return nil, fmt.Errorf("artifact: %d bytes from %d on are not a piece", q.Length, q.Offset)
	}
	type piece struct {
		head artifact.Head
		data []byte
	}
	p, err := looked(ctx, w.looks, q.Workdir, func() (p piece, err error) {
		err = w.inWorkdir(&q.Place, func(dir *os.Root) error {
			p.head, p.data, err = readPiece(dir, &q)
			return err
		})
		return p, err
	})
	var refused *invalidError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.head = artifact.Head{Status: artifact.Gone}
	case errors.As(err, &refused), errors.Is(err, fs.ErrPermission):
		p.head = artifact.Head{Status: artifact.Denied, Text: err.Error()}
	case err != nil:
		return nil, fmt.Errorf("artifact %s: %w", q.Path, err)
	}
	return artifact.EncodePiece(p.head, p.data)
}

// inWorkdir calls f with the working directory, opened below one of the host's roots, and with the rights of the job's user.
// fs.ErrNotExist: there is no such directory. An *invalidError: it is none of this host's, or the user is none who runs jobs.
func (w *Worker) inWorkdir(at *artifact.Place, f func(dir *os.Root) error) error {
	if w.gone(at.Workdir) {
		return fs.ErrNotExist // whosever it would be
	}
	who, err := w.accountFor(at.User, at.Workdir)
	if err != nil {
		return err
	}
	return w.inDir(who, at.Workdir, f)
}

func (w *Worker) inDir(who *account.Account, workdir string, f func(dir *os.Root) error) error {
	root, rel, err := w.within("workdir", workdir, false)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return who.Do(func() error {
		// As a directory alone: what waits to be opened, such as a pipe, is not waited for.
		if info, err := root.Stat(rel); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s: %w", workdir, fs.ErrNotExist)
		}
		dir, err := root.OpenRoot(rel)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }()
		return f(dir)
	})
}
