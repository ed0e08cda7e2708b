package api

import (
	"errors"
	"math"
	"mime"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// logForm is a form that a log is given in.
type logForm int

const (
	logJSON logForm = iota
	logText
	logEvents
)

func (f logForm) contentType() string {
	switch f {
	case logText:
		return "text/plain; charset=utf-8"
	case logEvents:
		return "text/event-stream"
	default:
		return fiber.MIMEApplicationJSON
	}
}

// logQuery is what a client asks of a log.
type logQuery struct {
	form   logForm
	offset int64
	// follow is text that goes on until the job ends.
	follow bool
}

// logQueryOf reads a request. standard is the form for a client that takes any.
func logQueryOf(c *fiber.Ctx, standard string) (q logQuery, err error) {
	q.follow = true
	if c.Context().QueryArgs().Has("follow") {
		q.form = logText
		switch value := c.Query("follow"); value {
		case "", "true", "1":
		case "false", "0":
			q.follow = false
		default:
			return q, invalid("follow", "%q is none: use true or false", shown(value))
		}
	} else {
		q.form = acceptedForm(accepted(c), standard)
	}
	field, text := "offset", c.Query("offset")
	if last := c.Get("Last-Event-ID"); last != "" && q.form == logEvents {
		// A browser that connects again asks for the same URL, with the offset of its first request.
		field, text = "Last-Event-ID", last
	}
	q.offset, err = parseOffset(field, text)
	return q, err
}

func parseOffset(field, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	offset, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(text, "-"):
		return math.MaxInt64, nil // a number, past the end of any log
	case err != nil || offset < 0:
		return 0, invalid(field, "%q is not an offset: use the number of bytes that an answer gave", shown(text))
	}
	return offset, nil
}

// acceptedForm chooses by the Accept header. JSON wins where it is named, for clients that name all they can read; else what
// is named in the header; standard where anything goes, which is what curl and browsers send.
func acceptedForm(accept, standard string) logForm {
	named := map[string]bool{}
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil && q == 0 {
			continue // named as what is not wanted
		}
		named[media] = true
	}
	switch {
	case named["application/json"]:
		return logJSON
	case named["text/event-stream"]:
		return logEvents
	case named["text/plain"], named["text/*"]:
		return logText
	case named["*/*"] && standard == formText:
		return logText
	default:
		return logJSON
	}
}

// accepted is what the client accepts: the header may come more than once.
func accepted(c *fiber.Ctx) string {
	var list []string
	for _, value := range c.Request().Header.PeekAll(fiber.HeaderAccept) {
		list = append(list, string(value))
	}
	return strings.Join(list, ", ")
}
