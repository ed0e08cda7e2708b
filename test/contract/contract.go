// Package contract holds requests and answers of the API to its OpenAPI document. It is for tests only.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// where is the document's address as the JSON Schemas in it see it. Nothing is loaded from there.
const where = "urn:openapi"

// Contract is a document that answers are held to. It may be used by many goroutines.
type Contract struct {
	root map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

// New reads a document.
func New(document []byte) (*Contract, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("error reading the document: %w", err)
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the document is not a JSON object")
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(where, object); err != nil {
		return nil, err
	}
	return &Contract{root: object, compiler: compiler}, nil
}

// At returns what is at the keys, with the references on the way followed; nil where there is nothing.
func (c *Contract) At(keys ...string) any {
	var at any = c.root
	for _, key := range keys {
		at, _ = c.resolved(at, "")
		object, _ := at.(map[string]any)
		at = object[key]
	}
	at, _ = c.resolved(at, "")
	return at
}

// resolved follows a reference, and returns the pointer of what it found.
func (c *Contract) resolved(v any, pointer string) (any, string) {
	object, _ := v.(map[string]any)
	ref, ok := object["$ref"].(string)
	if !ok {
		return v, pointer
	}
	pointer = strings.TrimPrefix(ref, "#")
	var at any = c.root
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		object, _ := at.(map[string]any)
		at = object[unescaped.Replace(key)]
	}
	return at, pointer
}

// follow goes from a place of the document to one below it.
func (c *Contract) follow(v any, pointer string, keys ...string) (any, string) {
	for _, key := range keys {
		v, pointer = c.resolved(v, pointer)
		object, _ := v.(map[string]any)
		v, pointer = object[key], pointer+"/"+escaped.Replace(key)
	}
	return c.resolved(v, pointer)
}

// Keys as JSON pointers write them.
var (
	escaped   = strings.NewReplacer("~", "~0", "/", "~1") //nolint:gochecknoglobals // a table that is never written
	unescaped = strings.NewReplacer("~1", "/", "~0", "~") //nolint:gochecknoglobals // a table that is never written
)

// Validate holds a value to the schema at the pointer, such as "/components/schemas/Job".
func (c *Contract) Validate(pointer string, value any) error {
	c.mu.Lock()
	schema, err := c.compiler.Compile(where + "#" + pointer)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("the schema at %s: %w", pointer, err)
	}
	return schema.Validate(value)
}

// Operation is a method of a path.
type Operation struct {
	// Method in capitals, Path as the document writes it: "/jobs/{id}".
	Method, Path string
	// Pointer is its place in the document.
	Pointer string
	object  map[string]any
}

// String is "GET /jobs/{id}".
func (o Operation) String() string { return o.Method + " " + o.Path }

// Operations lists them all, in order.
func (c *Contract) Operations() []Operation {
	var all []Operation
	paths, _ := c.root["paths"].(map[string]any)
	for path, item := range paths {
		methods, _ := item.(map[string]any)
		for method, operation := range methods {
			if object, ok := operation.(map[string]any); ok {
				pointer := "/paths/" + escaped.Replace(path) + "/" + method
				all = append(all, Operation{strings.ToUpper(method), path, pointer, object})
			}
		}
	}
	slices.SortFunc(all, func(a, b Operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	return all
}

// find returns the operation of a request, and the methods that its path has, none where it is no path of the API.
func (c *Contract) find(method, path string) (found *Operation, methods []string) {
	path, ok := c.below(path)
	if !ok {
		return nil, nil
	}
	if method == "HEAD" {
		method = "GET"
	}
	best := -1
	for _, o := range c.Operations() {
		literal := matches(o.Path, path)
		if literal < best || literal < 0 {
			continue
		}
		if literal > best {
			best, found, methods = literal, nil, nil
		}
		methods = append(methods, o.Method)
		if o.Method == method {
			found = &o
		}
	}
	return found, methods
}

// below returns the path without the service's prefix, and whether it has it. What is open to all is at the root, too.
func (c *Contract) below(path string) (string, bool) {
	servers, _ := c.root["servers"].([]any)
	for _, server := range servers {
		object, _ := server.(map[string]any)
		prefix, _ := object["url"].(string)
		if rest, ok := strings.CutPrefix(path, strings.TrimRight(prefix, "/")); ok && (rest == "" || rest[0] == '/') {
			return rest, true
		}
	}
	return path, strings.TrimRight(path, "/") == "/healthz" || strings.TrimRight(path, "/") == "/readyz"
}

// matches returns how many elements of the path are the template's own, -1 where it is none of its.
func matches(template, path string) int {
	want, have := strings.Split(template, "/"), strings.Split(strings.TrimRight(path, "/"), "/")
	if len(want) != len(have) {
		return -1
	}
	literal := 0
	for i, element := range want {
		switch {
		case element == have[i]:
			literal++
		case !strings.HasPrefix(element, "{") || have[i] == "":
			return -1
		}
	}
	return literal
}

// AtPointer returns what is at a JSON pointer, with the references on the way followed; nil where there is nothing.
func (c *Contract) AtPointer(pointer string) any {
	var keys []string
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		keys = append(keys, unescaped.Replace(key))
	}
	return c.At(keys...)
}

// ValidateBy holds a value to a schema whose references are the document's.
func (c *Contract) ValidateBy(schema, value any) error {
	data, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	own, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(strings.ReplaceAll(string(data), `"$ref":"#/`, `"$ref":"`+where+`#/`))))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for name, resource := range map[string]any{where: c.root, where + ":own": own} {
		if err := compiler.AddResource(name, resource); err != nil {
			return err
		}
	}
	compiled, err := compiler.Compile(where + ":own")
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}
