package topology

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"
)

// scale weighs a document as it is once every alias stands for what it names: a few hundred bytes may be billions of values.
type scale struct{ weights map[*yaml.Node]int }

func (s *scale) check(document *yaml.Node) error {
	weight, err := s.weigh(document)
	if err == nil && weight > maxParts {
		err = fmt.Errorf("it has more than %d parts", maxParts)
	}
	return err
}

// underWay is the weight of what is being weighed: an alias to it would be without end.
const underWay = -1

// weigh returns how many values the node has, as far as they count.
func (s *scale) weigh(n *yaml.Node) (int, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if weight, ok := s.weights[n]; ok {
		if weight == underWay {
			return 0, errors.New("it has a value that contains itself")
		}
		return weight, nil
	}
	if n.Kind == yaml.ScalarNode {
		return 1, nil
	}
	if err := checkKeys(n); err != nil {
		return 0, err
	}
	s.weights[n] = underWay
	weight := 1
	for _, child := range n.Content {
		w, err := s.weigh(child)
		if err != nil {
			return 0, err
		}
		weight = min(weight+w, maxParts+1)
	}
	s.weights[n] = weight
	return weight, nil
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
