package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// fileValue is one value of the YAML file, as the text that a flag would be given.
type fileValue struct {
	text string
	// where is the key and its line, for faults.
	where string
}

// yamlFile is one reading of a file with settings.
type yamlFile struct {
	path     string
	variable string // of the setting that names the file
	sections []string
	keys     []string
	values   map[string]fileValue
	faults   []Fault
}

// readFile reads the settings in the YAML file at path, by key. Known are the settings of all programs, since one file
// may serve them all. The variable is the one that named the file.
func readFile(path, variable string, known []Setting) (map[string]fileValue, []Fault) {
	f := &yamlFile{path: path, variable: variable, values: map[string]fileValue{}}
	for _, s := range known {
		if section, _, ok := strings.Cut(s.Key, "."); ok {
			f.keys = append(f.keys, s.Key)
			if !slices.Contains(f.sections, section) {
				f.sections = append(f.sections, section)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		f.faults = append(f.faults, faultf(variable, "%v: name a YAML file that this user can read", err))
		return nil, f.faults
	}
	f.document(text)
	return f.values, f.faults
}

func (f *yamlFile) document(text []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return
	}
	if err == nil && !errors.Is(decoder.Decode(&more), io.EOF) {
		err = errors.New("more than one document")
	}
	if err != nil {
		f.faults = append(f.faults, faultf(f.variable, "%s is not a YAML document with settings: %v", f.path, err))
		return
	}
	for section, value := range f.entries(doc.Content[0], "") {
		if !slices.Contains(f.sections, section.Value) {
			f.unknown(section, section.Value, f.sections, "")
			continue
		}
		for name, v := range f.entries(value, section.Value) {
			f.setting(name, v, section.Value)
		}
	}
}

// entries ranges over the keys and values of a mapping, at most one level below the document.
func (f *yamlFile) entries(n *yaml.Node, section string) func(yield func(k, v *yaml.Node) bool) {
	n = resolved(n)
	return func(yield func(k, v *yaml.Node) bool) {
		if n.ShortTag() == "!!null" {
			return
		}
		if n.Kind != yaml.MappingNode {
			f.fault(n, section, "holds no settings: write 'section:' lines with 'name: value' lines indented below, such as 'api:' and 'port: 8090'")
			return
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			if seen[k.Value] {
				f.fault(k, join(section, k.Value), "is there twice: leave one")
				continue
			}
			seen[k.Value] = true
			if !yield(k, v) {
				return
			}
		}
	}
}

func (f *yamlFile) setting(name, v *yaml.Node, section string) {
	key := join(section, name.Value)
	if !slices.Contains(f.keys, key) {
		f.unknown(name, key, f.keys, section+".")
		return
	}
	text, err := nodeText(v)
	if err != nil {
		f.fault(v, key, err.Error())
		return
	}
	if text != "" {
		f.values[key] = fileValue{text: text, where: f.where(v, key)}
	}
}

func (f *yamlFile) unknown(n *yaml.Node, key string, known []string, prefix string) {
	f.fault(n, key, "is not a setting"+suggest(key, known, prefix))
}

func (f *yamlFile) fault(n *yaml.Node, key, text string) {
	f.faults = append(f.faults, Fault{Variable: key, Where: f.where(n, key), Text: text})
}

func (f *yamlFile) where(n *yaml.Node, key string) string {
	return strings.TrimSpace(fmt.Sprintf("%s:%d: %s", f.path, n.Line, key))
}

func join(section, name string) string {
	return strings.TrimPrefix(section+"."+name, ".")
}

// nodeText is the value as a flag's text: a list with ',' between its entries, a mapping as key=value. An empty value is
// an empty text, as with variables it counts as unset.
func nodeText(n *yaml.Node) (string, error) {
	n = resolved(n)
	var list []string
	switch n.Kind {
	case yaml.ScalarNode:
		return scalarText(n)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			text, err := scalarText(resolved(c))
			if err != nil {
				return "", err
			}
			list = append(list, text)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			text, err := scalarText(resolved(n.Content[i+1]))
			if err != nil {
				return "", err
			}
			list = append(list, n.Content[i].Value+"="+text)
		}
	}
	return kong.JoinEscaped(list, ','), nil
}

func scalarText(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", errors.New("is nested too deep: use a text, a number, a list of them, or key: value lines")
	}
	if n.ShortTag() == "!!null" {
		return "", nil
	}
	return n.Value, nil
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
