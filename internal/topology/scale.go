package topology

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"
)

// scale weighs a document as it is once every alias stands for what it names: a few hundred bytes may be billions of values,
// and one long text many times as long.
type scale struct{ weights map[*yaml.Node]weight }

// weight is how many values a node has and how many bytes of text, as far as they count.
type weight struct {
	parts, bytes int
	underWay     bool // it is being weighed: an alias to it would be without end
}

func (w weight) plus(more weight) weight {
	return weight{parts: min(w.parts+more.parts, maxParts+1), bytes: min(w.bytes+more.bytes, maxText+1)}
}

func (s *scale) check(document *yaml.Node) error {
	weight, err := s.weigh(document)
	switch {
	case err != nil:
		return err
	case weight.parts > maxParts:
		return fmt.Errorf("it has more than %d parts", maxParts)
	case weight.bytes > maxText:
		return fmt.Errorf("it has more than %d bytes of text with its aliases written out", maxText)
	}
	return nil
}

func (s *scale) weigh(n *yaml.Node) (weight, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if known, ok := s.weights[n]; ok {
		if known.underWay {
			return weight{}, errors.New("it has a value that contains itself")
		}
		return known, nil
	}
	if n.Kind == yaml.ScalarNode {
		return weight{parts: 1, bytes: len(n.Value)}, nil
	}
	if err := checkKeys(n); err != nil {
		return weight{}, err
	}
	s.weights[n] = weight{underWay: true}
	sum := weight{parts: 1}
	for _, child := range n.Content {
		more, err := s.weigh(child)
		if err != nil {
			return weight{}, err
		}
		sum = sum.plus(more)
	}
	s.weights[n] = sum
	return sum, nil
}

// maxKeys bounds a mapping: the library compares each of its keys with every other, and has an error for each two that are one.
const maxKeys = 2000

func checkKeys(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	if len(n.Content)/2 > maxKeys {
		return fmt.Errorf("it has more than %d keys in one place", maxKeys)
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			continue
		}
		if seen[key.Value] {
			return errors.New("it has the same key twice in one place")
		}
		seen[key.Value] = true
	}
	return nil
}
