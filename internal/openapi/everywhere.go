package openapi

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// methods are the members of a path that are operations.
var methods = []string{"get", "post", "put", "patch", "delete"} //nolint:gochecknoglobals // a table that is never written

// everywhere are the answers that any request may get, by status: the HTTP server itself, or the check of access, gives them.
// The document's files name only what is an operation's own.
var everywhere = []struct{ status, response string }{ //nolint:gochecknoglobals // a table that is never written
	{"400", "BadRequest"},
	{"401", "Unauthorized"},
	{"408", "RequestTimeout"},
	{"413", "TooLarge"},
	{"414", "PathTooLong"},
	{"431", "HeadersTooLarge"},
	{"503", "Unavailable"},
}

func operations(root *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	paths := get(root, "paths")
	for i := 1; paths != nil && i < len(paths.Content); i += 2 {
		for _, method := range methods {
			if operation := get(paths.Content[i], method); operation != nil {
				all = append(all, operation)
			}
		}
	}
	return all
}

// completeOperations adds to each operation the answers that all have. What is open to all has "security: []" in its file.
func completeOperations(root *yaml.Node) error {
	for _, operation := range operations(root) {
		responses := get(operation, "responses")
		if responses == nil {
			return fmt.Errorf("OpenAPI document: an operation has no responses")
		}
		for _, e := range everywhere {
			if get(responses, e.status) != nil || e.status == "401" && get(operation, "security") != nil {
				continue
			}
			set(responses, e.status, mapping("$ref", text("#/components/responses/"+e.response)))
		}
	}
	return nil
}
