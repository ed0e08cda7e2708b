package openapi

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// pending are the operations that are described and not built yet: the document leaves them out, with the links to them. A
// route that is built has to be taken out of here.
var pending = []string{} //nolint:gochecknoglobals // a table that is never written

func leaveOut(root *yaml.Node) {
	isPending := func(n *yaml.Node) bool {
		id := get(n, "operationId")
		return id != nil && slices.Contains(pending, id.Value)
	}
	paths := get(root, "paths")
	remove(paths, func(_ string, path *yaml.Node) bool {
		remove(path, func(_ string, operation *yaml.Node) bool { return isPending(operation) })
		return !slices.ContainsFunc(methods, func(method string) bool { return get(path, method) != nil })
	})
	for _, operation := range operations(root) {
		responses := get(operation, "responses")
		for i := 1; i < len(responses.Content); i += 2 {
			links := get(responses.Content[i], "links")
			remove(links, func(_ string, link *yaml.Node) bool { return isPending(link) })
		}
	}
}
