package inventory

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds of a YAML document, aliases followed.
const (
	mostValues = 500_000
	// mostSigns is how many signs there may be that begin a value: the parser makes 200 bytes of each before anybody can count.
	mostSigns = 300_000
	deepest   = 100
)

// parse reads YAML as data: maps with text as keys, lists, and scalars that JSON has. What aliases make of it is bounded too.
func parse(text []byte) (value any, err error) {
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, errors.New("it is no YAML")
		}
	}()
	if signs(text) > mostSigns {
		return nil, fmt.Errorf("it has more than %d signs of YAML's", mostSigns)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, errors.New("it is no YAML") // yaml's own text quotes the file
	}
	r := reader{values: mostValues, bytes: 2*len(text) + 1<<16}
	return r.read(&document, 0)
}

// signs counts what can begin a value.
func signs(text []byte) (n int) {
	for i, c := range text {
		switch c {
		case ',', '[', '{', '\n', '\r':
			n++
		case '-', ':', '?':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t') {
				n++
			}
		}
	}
	return n
}

// reader turns nodes into values while its budget lasts.
type reader struct{ values, bytes int }

func (r *reader) read(node *yaml.Node, depth int) (any, error) {
	r.values--
	r.bytes -= len(node.Value)
	switch {
	case r.values < 0:
		return nil, fmt.Errorf("it holds more than %d values", mostValues)
	case r.bytes < 0:
		return nil, errors.New("its aliases make it too large")
	case depth > deepest:
		return nil, fmt.Errorf("it is nested deeper than %d", deepest)
	}
	switch node.Kind {
	case yaml.DocumentNode:
		if len(node.Content) == 0 {
			return nil, nil //nolint:nilnil // an empty document is null
		}
		return r.read(node.Content[0], depth)
	case yaml.AliasNode:
		return r.read(node.Alias, depth+1)
	case yaml.MappingNode:
		return r.readMap(node, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, item := range node.Content {
			value, err := r.read(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case yaml.ScalarNode:
		return scalar(node), nil
	default:
		return nil, nil //nolint:nilnil // an empty file is null
	}
}

func (r *reader) readMap(node *yaml.Node, depth int) (any, error) {
	values := make(map[string]any, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return nil, errors.New("it has a key that is no text")
		}
		r.bytes -= len(key.Value)
		value, err := r.read(node.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		values[strings.ToValidUTF8(key.Value, "�")] = value
	}
	return values, nil
}

// scalar is a scalar as JSON has it. A time stays the text that stands in the file.
func scalar(node *yaml.Node) any {
	text := strings.ToValidUTF8(node.Value, "�")
	switch node.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		var value any
		if node.Decode(&value) != nil {
			return text
		}
		switch number := value.(type) {
		case bool, int, int64, uint64:
			return number
		case float64:
			if !math.IsNaN(number) && !math.IsInf(number, 0) {
				return number
			}
		}
	}
	return text
}

// asMap is the map that a value is, nil where it is none. A nil map can be read.
func asMap(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

// asText is the text that a value is or a number reads as, "" for all else.
func asText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case int, int64, uint64, float64, bool:
		return fmt.Sprint(v)
	default:
		return ""
	}
}
