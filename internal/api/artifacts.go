package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/bus"
	"netlab-runner/internal/jobs"
)

// getArtifacts lists the regular files below a job's working directory, as they are now, and in place of them those that were
// kept, as they were when the job ended. Where the host is away, or may not list the others, they are all, and "truncated" says
// so.
func (s *Server) getArtifacts(c *fiber.Ctx) error {
	job, err := s.job(s.jobID(c))
	if err != nil {
		return err
	}
	kept, err := s.keptOf(&job)
	if err != nil {
		return err
	}
	timeout := askTimeout
	if len(kept) > 0 {
		timeout = s.config.HostTimeout // there is an answer without it
	}
	var list artifact.List
	if err := s.ask(job.Host, "artifacts", timeout, placeOf(&job), &list); err != nil {
		if len(kept) == 0 {
			return hostAway(err)
		}
		list = artifact.List{Truncated: true}
	}
	switch {
	case list.Denied == "":
	case len(kept) == 0:
		return failed(http.StatusForbidden, "the files of %s on host %s cannot be listed: %s", job.Workdir, job.Host, list.Denied)
	default:
		list = artifact.List{Truncated: true}
	}
	return c.JSON(map[string]any{"artifacts": merged(list.Files, kept), "truncated": list.Truncated})
}

// keptOf is what was kept of the job's files.
func (s *Server) keptOf(job *jobs.Job) ([]bus.KeptFile, error) {
	if job.Kept == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(s.running, busTimeout)
	defer cancel()
	list, err := s.config.Bus.KeptList(ctx, job.Host, job.ID)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil // the stream was lost; the host may have them still
	}
	if err != nil {
		return nil, err
	}
	return list.Files, nil
}

// merged are the files of the host with those that were kept in place of its own, by path.
func merged(files []artifact.File, kept []bus.KeptFile) []artifact.File {
	all := make([]artifact.File, 0, len(files)+len(kept))
	copies := map[string]bool{}
	for _, k := range kept {
		copies[k.Path] = true
		all = append(all, artifact.File{
			Path: k.Path, Bytes: k.Bytes, ModifiedAt: k.Modified.UTC().Truncate(time.Second), Type: artifact.TypeOf(k.Path), Kept: true,
		})
	}
	for _, f := range files {
		if !copies[f.Path] {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// placeOf is where the host finds the job's files.
func placeOf(job *jobs.Job) artifact.Place {
	return artifact.Place{Workdir: job.Workdir, User: job.User}
}
