package openapi

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"netlab-runner/test/contract"
)

// whole is the document with what is not built yet, and as a service shows it.
func whole(t *testing.T) map[string][]byte {
	t.Helper()
	root, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if err := completeOperations(root); err != nil {
		t.Fatal(err)
	}
	s := Service{Prefix: "/lab", Basic: true, Bearer: true}
	s.fill(root)
	all, err := json.Marshal(value{root})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := JSON(Service{})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"whole": all, "shown": shown}
}

// The document is valid OpenAPI 3.1: testdata has the schema of the OpenAPI Initiative, of 2022-10-07.
func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	file, err := os.Open(filepath.Join("testdata", "openapi-3.1.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rules, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("urn:rules", rules); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("urn:rules")
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range whole(t) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every schema is valid JSON Schema, every example is as its schema says, every reference and every link leads somewhere, and
// every operation, parameter and answer says what it is.
func TestDocumentIsWhole(t *testing.T) {
	t.Parallel()
	for name, document := range whole(t) {
		c, err := contract.New(document)
		if err != nil {
			t.Fatal(err)
		}
		var root any
		if err := json.Unmarshal(document, &root); err != nil {
			t.Fatal(err)
		}
		w := walker{t: t, name: name, contract: c, examples: 0}
		for _, o := range c.Operations() {
			id, _ := c.AtPointer(o.Pointer + "/operationId").(string)
			if id == "" || slices.Contains(w.ids, id) {
				t.Errorf("%s: the operationId %q of %s is missing or there twice", name, id, o)
			}
			w.ids = append(w.ids, id)
		}
		w.walk(root, "")
		if w.examples < 20 {
			t.Errorf("%s: only %d examples were found", name, w.examples)
		}
	}
}

type walker struct {
	t        *testing.T
	name     string
	contract *contract.Contract
	ids      []string
	examples int
}

func (w *walker) walk(v any, at string) {
	w.t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if strings.HasSuffix(at, "/example") || strings.HasSuffix(at, "/value") && strings.Contains(at, "/examples/") {
			return
		}
		w.object(v, at)
		for key, member := range v {
			w.walk(member, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
		}
	case []any:
		for _, item := range v {
			w.walk(item, at+"/-")
		}
	}
}

func (w *walker) object(v map[string]any, at string) {
	w.t.Helper()
	if ref, ok := v["$ref"].(string); ok && w.contract.AtPointer(strings.TrimPrefix(ref, "#")) == nil {
		w.t.Errorf("%s: %s leads nowhere: %s", w.name, at, ref)
	}
	if strings.Contains(at, "/links/") && v["operationId"] != nil && !slices.Contains(w.ids, v["operationId"].(string)) {
		w.t.Errorf("%s: %s leads nowhere: %s", w.name, at, v["operationId"])
	}
	schema, ok := v["schema"]
	if !ok {
		return
	}
	validate := func(example any) {
		w.examples++
		if err := w.validate(schema, example); err != nil {
			w.t.Errorf("%s: the example at %s: %v", w.name, at, err)
		}
	}
	if example, ok := v["example"]; ok {
		validate(example)
	}
	several, _ := v["examples"].(map[string]any)
	for _, one := range several {
		validate(one.(map[string]any)["value"])
	}
	if len(several) == 0 && v["example"] == nil {
		if err := w.validate(schema, nil); err != nil && strings.Contains(err.Error(), "is not valid against metaschema") {
			w.t.Errorf("%s: the schema at %s: %v", w.name, at, err)
		}
	}
}

// validate holds a value to a schema that may be anywhere.
func (w *walker) validate(schema, value any) error {
	return w.contract.ValidateBy(schema, value)
}

// Every operation says what it is and what it answers.
func TestOperationsAreDescribed(t *testing.T) {
	t.Parallel()
	root, err := read()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operations(root) {
		for _, what := range []string{"tags", "summary", "responses"} {
			if get(o, what) == nil {
				t.Errorf("%s has no %s", get(o, "operationId").Value, what)
			}
		}
	}
}
