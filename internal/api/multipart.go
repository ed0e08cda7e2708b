package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bundle"
	"netlab-runner/internal/jobs"
)

// The parts of a multipart body.
const (
	jobPart    = "job"
	bundlePart = "bundle"
)

func isMultipart(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "multipart/")
}

// multipartJob reads a body of two parts: "job", the JSON object, and "bundle", the archive of the lab's files.
func (s *Server) multipartJob(c *fiber.Ctx) (*jobs.Payload, error) {
	job, archive, err := readParts(c.Get(fiber.HeaderContentType), c.Request().Body())
	if err != nil {
		return nil, err
	}
	if len(job) > s.config.BodyLimit {
		return nil, failed(http.StatusRequestEntityTooLarge, "job: has more than %d bytes (NETLAB_API_BODY_LIMIT)", s.config.BodyLimit)
	}
	payload, err := jobs.ParseWithBundle(job, archive)
	problem := bundle.Problem(archive)
	if problem == "" {
		return payload, err
	}
	// Beside what is wrong with the job: a client is told of everything at once.
	faults := []jobs.Fault{{Field: bundlePart, Text: problem}}
	var invalid *jobs.Invalid
	if errors.As(err, &invalid) {
		faults = append(invalid.Faults, faults...)
	}
	return nil, &jobs.Invalid{Faults: faults}
}

func readParts(contentType string, body []byte) (job, archive []byte, err error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, nil, invalid("body", "is of a type that is not multipart/form-data with a boundary: use what curl -F sends")
	}
	parts := map[string][]byte{}
	room := len(body) // for the parts that are still to come
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF { //nolint:errorlint // it is wrapped where the last boundary is missing
			break
		}
		if err != nil {
			return nil, nil, invalid("body", "is not a whole multipart body (%v): send the parts %q and %q", err, jobPart, bundlePart)
		}
		name := part.FormName()
		if _, twice := parts[name]; twice || (name != jobPart && name != bundlePart) {
			return nil, nil, invalid("body", "has the part %s%s: send the part %q with the JSON object and %q with the archive, each once",
				fmt.Sprintf("%q", shown(name)), map[bool]string{true: " twice"}[twice], jobPart, bundlePart)
		}
		// At once as large as it can be: a bundle that grew as it is read would be there several times.
		text := bytes.NewBuffer(make([]byte, 0, room+bytes.MinRead))
		if _, err = text.ReadFrom(part); err != nil {
			return nil, nil, invalid("body", "ends within the part %q (%v): send it whole", name, err)
		}
		// So that all parts together, with the room around them, are not much more than the body.
		if parts[name] = text.Bytes(); text.Len() < room/2 {
			parts[name] = bytes.Clone(text.Bytes())
		}
		room -= text.Len()
	}
	for _, name := range []string{jobPart, bundlePart} {
		if _, ok := parts[name]; !ok {
			return nil, nil, invalid(name, "is missing in the multipart body: send the part %q with the JSON object and %q with the archive", jobPart, bundlePart)
		}
	}
	return parts[jobPart], parts[bundlePart], nil
}
