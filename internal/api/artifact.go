package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/artifact"
)

// artifactPolicy keeps a file that a lab has left from being a program of the API's own origin, where a browser shows it.
const artifactPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

// getArtifact gives one file of a job, whole or in part.
func (s *Server) getArtifact(c *fiber.Ctx) error {
	path, err := artifact.Clean(c.Query("path"))
	if err != nil {
		return invalid("path", "%v", err)
	}
	job, err := s.job(s.jobID(c))
	if err != nil {
		return err
	}
	source, err := s.sourceOf(&job, path)
	if err != nil {
		return err
	}
	wants := conditionsOf(c)
	pace, sending := s.newPace(), false
	defer func() {
		if !sending {
			pace.end()
		}
	}()
	// A file that is to be sent from its start comes with the answer to the first question.
	ask := pace.piece
	if c.Method() == fiber.MethodHead || wants.some() {
		ask = 0
	}
	head, first, err := source.begin(ask)
	if err != nil {
		return err
	}
	offset, length, err := describe(c, path, &head, &wants)
	switch {
	case err != nil || c.Response().StatusCode() == http.StatusNotModified:
		return err
	case c.Method() == fiber.MethodHead:
		// The length of a stream that nobody reads.
		s.sendStream(c, strings.NewReader(""), int(length))
		return nil
	}
	sending = true
	source.etag = head.ETag
	s.sendStream(c, newArtifactStream(s.running, source, pace, offset, length, first), int(length))
	return nil
}

// describe answers with the status and the headers for the file, or the part of it that is wanted, or that the client has it
// already.
func describe(c *fiber.Ctx, path string, head *artifact.Head, wants *conditions) (offset, length int64, err error) {
	etag := `"` + head.ETag + `"`
	offset, length, status := wants.weigh(etag, head.Modified, head.Bytes)
	switch status {
	case http.StatusPreconditionFailed:
		return 0, 0, failed(status, "path: %s is not the file that If-Match or If-Unmodified-Since names any more", shown(path))
	case http.StatusRequestedRangeNotSatisfiable:
		c.Set(fiber.HeaderContentRange, "bytes */"+strconv.FormatInt(head.Bytes, 10))
		return 0, 0, failed(status, "range: %s has %d bytes, and the range begins behind them", shown(path), head.Bytes)
	}
	c.Set(fiber.HeaderETag, etag)
	c.Set(fiber.HeaderLastModified, head.Modified.UTC().Format(http.TimeFormat))
	c.Set(fiber.HeaderCacheControl, "private, no-cache, no-transform")
	if status == http.StatusNotModified {
		return 0, 0, c.SendStatus(status)
	}
	if status == http.StatusPartialContent {
		c.Set(fiber.HeaderContentRange, contentRange(offset, length, head.Bytes))
	}
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderContentType, artifact.TypeOf(path))
	c.Set(fiber.HeaderContentDisposition, disposition(path))
	c.Set(fiber.HeaderContentSecurityPolicy, artifactPolicy)
	c.Status(status)
	return offset, length, nil
}

// disposition names the file for who saves it, and has a browser save it.
func disposition(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	if plain == name {
		return `attachment; filename="` + name + `"`
	}
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + percentEncoded(name)
}

// percentEncoded is RFC 8187's form of a text.
func percentEncoded(s string) string {
	const hexadecimal = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexadecimal[c>>4])
		b.WriteByte(hexadecimal[c&15])
	}
	return b.String()
}
