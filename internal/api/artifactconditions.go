package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

// conditions are what a request says of the file that its client has, and which part of it is wanted (RFC 9110, 13 and 14).
type conditions struct {
	ifMatch, ifNoneMatch               string
	ifModifiedSince, ifUnmodifiedSince string
	ifRange, byteRange                 string
}

func conditionsOf(c *fiber.Ctx) conditions {
	w := conditions{
		ifMatch: lists(c, fiber.HeaderIfMatch), ifNoneMatch: lists(c, fiber.HeaderIfNoneMatch),
		ifModifiedSince: c.Get(fiber.HeaderIfModifiedSince), ifUnmodifiedSince: c.Get(fiber.HeaderIfUnmodifiedSince),
	}
	if c.Method() == fiber.MethodGet { // a range means nothing elsewhere
		w.ifRange, w.byteRange = c.Get(fiber.HeaderIfRange), c.Get(fiber.HeaderRange)
	}
	return w
}

// lists is a header that may come more than once.
func lists(c *fiber.Ctx, name string) string {
	var all []string
	for _, value := range c.Request().Header.PeekAll(name) {
		all = append(all, string(value))
	}
	return strings.Join(all, ",")
}

// some says whether any is set.
func (w *conditions) some() bool { return *w != conditions{} }

// weigh is the status of the answer, and which part of the file it has: 200, 206, 304, 412 or 416. etag is with its quotes.
func (w *conditions) weigh(etag string, modified time.Time, size int64) (offset, length int64, status int) {
	modified = modified.Truncate(time.Second)
	switch {
	case w.ifMatch != "" && !names(w.ifMatch, etag, false),
		w.ifMatch == "" && isAfter(modified, w.ifUnmodifiedSince):
		return 0, 0, http.StatusPreconditionFailed
	case w.ifNoneMatch != "" && names(w.ifNoneMatch, etag, true),
		w.ifNoneMatch == "" && isNotAfter(modified, w.ifModifiedSince):
		return 0, 0, http.StatusNotModified
	}
	if w.byteRange == "" || w.ifRange != "" && !w.ranged(etag, modified) {
		return 0, size, http.StatusOK
	}
	return part(w.byteRange, size)
}

// ranged says whether If-Range names this file: by its tag, or by its very time.
func (w *conditions) ranged(etag string, modified time.Time) bool {
	if strings.HasPrefix(w.ifRange, `"`) {
		return w.ifRange == etag
	}
	at, err := http.ParseTime(w.ifRange)
	return err == nil && at.Equal(modified)
}

// names says whether a list of tags has this one. weak takes one that is marked as weak for it too.
func names(list, etag string, weak bool) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if weak {
			tag = strings.TrimPrefix(tag, "W/")
		}
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}

func isAfter(modified time.Time, header string) bool {
	at, err := http.ParseTime(header)
	return err == nil && modified.After(at)
}

func isNotAfter(modified time.Time, header string) bool {
	at, err := http.ParseTime(header)
	return err == nil && !modified.After(at)
}

// part reads a Range header with one range. One that cannot be read, and several at once, mean the whole file, which a server
// may always give.
func part(header string, size int64) (offset, length int64, status int) {
	whole := func() (int64, int64, int) { return 0, size, http.StatusOK }
	unit, spec, _ := strings.Cut(header, "=")
	if !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return whole()
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	from, fromOK := digits(first)
	to, toOK := digits(last)
	switch {
	case !ok || first != "" && !fromOK || last != "" && !toOK || first == "" && last == "" || first != "" && last != "" && to < from:
		return whole()
	case first == "": // the last so many
		to = min(to, size)
		if to == 0 {
			return 0, 0, http.StatusRequestedRangeNotSatisfiable
		}
		return size - to, to, http.StatusPartialContent
	case from >= size:
		return 0, 0, http.StatusRequestedRangeNotSatisfiable
	case last == "" || to >= size:
		to = size - 1
	}
	return from, to - from + 1, http.StatusPartialContent
}

// digits reads a number of bytes; one that is too large to be any is the largest.
func digits(s string) (int64, bool) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

func contentRange(offset, length, size int64) string {
	return "bytes " + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+length-1, 10) + "/" + strconv.FormatInt(size, 10)
}
