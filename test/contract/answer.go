package contract

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Answer is what the API answered.
type Answer struct {
	// Method and Path are the request's, the path as it was sent and without a query.
	Method, Path string
	Status       int
	Header       http.Header
	// Body is the whole body; nil where it was not read.
	Body []byte
}

// Check says what the document does not allow, nil where it allows the answer.
func (c *Contract) Check(a Answer) error {
	operation, methods := c.find(a.Method, a.Path)
	if operation == nil {
		return c.checkElsewhere(a, methods)
	}
	response, pointer := c.follow(operation.object, operation.Pointer, "responses", strconv.Itoa(a.Status))
	if response == nil {
		return fmt.Errorf("%s: the status %d is not documented", operation, a.Status)
	}
	if err := c.checkHeaders(response, pointer, a.Header); err != nil {
		return fmt.Errorf("%s, status %d: %w", operation, a.Status, err)
	}
	if err := c.checkBody(response, pointer, a); err != nil {
		return fmt.Errorf("%s, status %d: %w", operation, a.Status, err)
	}
	return nil
}

// checkElsewhere is for what no operation answers.
func (c *Contract) checkElsewhere(a Answer, methods []string) error {
	allowed := []int{http.StatusNotFound}
	if methods != nil {
		allowed = []int{http.StatusMethodNotAllowed}
	}
	// Given before anybody looks for a route.
	allowed = append(allowed, http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestTimeout,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge, http.StatusServiceUnavailable)
	if !slices.Contains(allowed, a.Status) {
		return fmt.Errorf("%s %s: no operation of the document, and the status is %d", a.Method, a.Path, a.Status)
	}
	if a.Status == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
		return fmt.Errorf("%s %s: 405 without Allow", a.Method, a.Path)
	}
	response := map[string]any{"$ref": "#/components/responses/BadRequest"}
	if err := c.checkBody(response, "", a); err != nil {
		return fmt.Errorf("%s %s, status %d: %w", a.Method, a.Path, a.Status, err)
	}
	return nil
}

func (c *Contract) checkHeaders(response any, pointer string, got http.Header) error {
	headers, _ := c.follow(response, pointer, "headers")
	object, _ := headers.(map[string]any)
	for name := range object {
		header, at := c.follow(response, pointer, "headers", name)
		values := got.Values(name)
		if required, _ := header.(map[string]any)["required"].(bool); required && len(values) == 0 {
			return fmt.Errorf("the header %s is missing", name)
		}
		for _, value := range values {
			var typed any = value
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				typed = n
			}
			if err := c.Validate(at+"/schema", typed); err != nil {
				return fmt.Errorf("the header %s: %w", name, err)
			}
		}
	}
	return nil
}

func (c *Contract) checkBody(response any, pointer string, a Answer) error {
	content, at := c.follow(response, pointer, "content")
	kinds, _ := content.(map[string]any)
	if kinds == nil {
		if len(a.Body) > 0 {
			return fmt.Errorf("a body is not documented: %.200s", a.Body)
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("content type %q: %w", a.Header.Get("Content-Type"), err)
	}
	kind := media
	if kinds[kind] == nil {
		kind = "*/*"
	}
	if kinds[kind] == nil {
		return fmt.Errorf("the content type %s is not documented", media)
	}
	if a.Body == nil || a.Method == http.MethodHead {
		return nil
	}
	switch kind {
	case "application/json":
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.Body))
		if err != nil {
			return fmt.Errorf("the body is not JSON: %w: %.200s", err, a.Body)
		}
		_, schema := c.follow(content, at, kind, "schema")
		return c.Validate(schema, value)
	case "text/event-stream":
		return c.checkEvents(a.Body)
	}
	return nil
}

// checkEvents holds the data of each event to what the document's schemas say of it.
func (c *Contract) checkEvents(body []byte) error {
	for block := range bytes.SplitSeq(body, []byte("\n\n")) {
		var name string
		var data []byte
		for line := range bytes.SplitSeq(block, []byte("\n")) {
			if rest, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
				name = string(rest)
			}
			if rest, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				data = rest
			}
		}
		if name == "" || data == nil {
			continue // a comment, or cut off
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("the data of an event %s: %w", name, err)
		}
		switch name {
		case "log":
			if _, ok := value.(string); !ok {
				err = errors.New("the data of an event log is no string")
			}
		case "end":
			end, _ := value.(map[string]any)
			err = c.Validate("/components/schemas/State", end["state"])
		case "job":
			err = c.Validate("/components/schemas/Job", value)
		default:
			err = fmt.Errorf("the event %s is not documented", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
