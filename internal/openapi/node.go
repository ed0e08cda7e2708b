package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// get returns what is at the keys, nil where there is nothing.
func get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		var found *yaml.Node
		if n != nil && n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					found = n.Content[i+1]
				}
			}
		}
		n = found
	}
	return n
}

// set puts the value at the key of a mapping, at its end where the key is new.
func set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, text(key), value)
}

// remove takes the keys out of a mapping for which drop says so.
func remove(n *yaml.Node, drop func(key string, value *yaml.Node) bool) {
	if n == nil {
		return
	}
	var left []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !drop(n.Content[i].Value, n.Content[i+1]) {
			left = append(left, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = left
}

// merge puts the members of one mapping into another. Only mappings may be in both.
func merge(into, from *yaml.Node, where string) error {
	for i := 0; i+1 < len(from.Content); i += 2 {
		key, value := from.Content[i].Value, from.Content[i+1]
		known := get(into, key)
		switch {
		case known == nil:
			set(into, key, value)
		case known.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			if err := merge(known, value, where+"/"+key); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s/%s is in two files", where, key)
		}
	}
	return nil
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: items}
}

func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		value, _ := pairs[i+1].(*yaml.Node)
		set(n, key, value)
	}
	return n
}

// value is a node as JSON, its members in the order of the file: people read the document, too.
type value struct{ *yaml.Node }

// MarshalJSON makes JSON of YAML. A time stays the text that it is.
func (v value) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case yaml.MappingNode:
		var b bytes.Buffer
		for i := 0; i+1 < len(v.Content); i += 2 {
			key, err := json.Marshal(v.Content[i].Value)
			if err != nil {
				return nil, err
			}
			member, err := value{v.Content[i+1]}.MarshalJSON()
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, ",%s:%s", key, member)
		}
		return []byte("{" + string(bytes.TrimPrefix(b.Bytes(), []byte(","))) + "}"), nil
	case yaml.SequenceNode:
		items := make([]value, len(v.Content))
		for i, item := range v.Content {
			items[i] = value{item}
		}
		return json.Marshal(items)
	case yaml.AliasNode:
		return value{v.Alias}.MarshalJSON()
	default:
		if tag := v.ShortTag(); tag == "!!str" || tag == "!!timestamp" {
			return json.Marshal(v.Value)
		}
		var scalar any
		if err := v.Decode(&scalar); err != nil {
			return nil, err
		}
		return json.Marshal(scalar)
	}
}
