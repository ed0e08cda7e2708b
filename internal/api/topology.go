package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/artifact"
	"netlab-runner/internal/topology"
)

// snapshotFile is the artifact that has a lab's topology.
const snapshotFile = "netlab.snapshot.yml"

// snapshots is how many of them are in memory at a time.
const snapshots = 8

// getTopology shows the topology of the lab of a job's working directory, out of the snapshot that is there, or was kept.
func (s *Server) getTopology(c *fiber.Ctx) error {
	job, err := s.job(s.jobID(c))
	if err != nil {
		return err
	}
	source, err := s.sourceOf(&job, snapshotFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.running, askTimeout)
	defer cancel()
	if err := take(ctx, s.fetching); err != nil {
		return err
	}
	defer func() { <-s.fetching }()
	head, first, err := source.begin(artifact.PieceSize)
	var known *failure
	if errors.As(err, &known) && known.status == http.StatusNotFound {
		return failed(known.status, "there is no %s in %s on host %s: a job with the action create, up or restart makes one", snapshotFile, job.Workdir, job.Host)
	}
	if err != nil {
		return err
	}
	lab, err := s.topologyOf(ctx, source, head, first)
	if err != nil {
		return err
	}
	return c.JSON(lab)
}

// take takes a place in room, if there is one before ctx ends.
func take(ctx context.Context, room chan<- struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return failed(http.StatusServiceUnavailable, "other topologies are being read: ask again")
	}
}

func (s *Server) topologyOf(ctx context.Context, source *artifactSource, head artifact.Head, first []byte) (*topology.Topology, error) {
	unreadable := func(err error) error {
		return failed(http.StatusConflict, "%s in %s on host %s cannot be read as a lab's topology: %v; a job with the action restart makes it anew",
			snapshotFile, source.place.Workdir, source.host, err)
	}
	if head.Bytes > topology.MaxBytes {
		return nil, unreadable(fmt.Errorf("it has %d bytes, at most %d are read", head.Bytes, topology.MaxBytes))
	}
	source.etag = head.ETag
	rest := newArtifactStream(ctx, source, pace{artifact.PieceSize, ahead, func() {}}, 0, head.Bytes, first)
	defer func() { _ = rest.Close() }()
	var content bytes.Buffer
	content.Grow(int(head.Bytes))
	if _, err := io.Copy(&content, rest); errors.Is(err, errChanged) {
		return nil, failed(http.StatusServiceUnavailable, "%s in %s on host %s is just being written: ask again", snapshotFile, source.place.Workdir, source.host)
	} else if err != nil {
		return nil, hostAway(err)
	}
	if err := take(ctx, s.parsing); err != nil {
		return nil, err
	}
	defer func() { <-s.parsing }()
	lab, err := topology.Read(content.Bytes())
	if err != nil {
		return nil, unreadable(err)
	}
	return lab, nil
}
