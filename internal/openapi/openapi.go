// Package openapi holds the description of the HTTP API as an OpenAPI 3.1 document. The files in document/ are its source: one
// a subject, merged into one. The tests of internal/api hold them to the routes, the types and every answer of the code.
package openapi

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"

	"gopkg.in/yaml.v3"
)

//go:embed document/*.yaml
var document embed.FS

// Service is what of the document depends on the service that shows it.
type Service struct {
	// Version of the program. Empty: "dev".
	Version string
	// Prefix is the path that every route stands below, such as "/netlab". Empty: none.
	Prefix string
	// Basic and Bearer say which credentials the service takes. Where both are false, it is open to all.
	Basic, Bearer bool
}

// JSON returns the document of a service.
func JSON(s Service) ([]byte, error) {
	root, err := read()
	if err != nil {
		return nil, err
	}
	if err := completeOperations(root); err != nil {
		return nil, err
	}
	s.fill(root)
	data, err := json.Marshal(value{root})
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	return append(data, '\n'), nil
}

// read merges the files.
func read() (*yaml.Node, error) {
	names, err := fs.Glob(document, "document/*.yaml")
	if err != nil {
		return nil, err
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range names {
		text, err := document.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var file yaml.Node
		if err := yaml.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := merge(root, file.Content[0], ""); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return root, nil
}

// fill sets what the service says of itself.
func (s *Service) fill(root *yaml.Node) {
	version := s.Version
	if version == "" {
		version = "dev"
	}
	set(get(root, "info"), "version", text(version))
	server := s.Prefix
	if server == "" {
		server = "/"
	}
	set(root, "servers", list(mapping("url", text(server))))
	security := list()
	schemes := mapping()
	for _, scheme := range []struct {
		name string
		used bool
	}{{"basic", s.Basic}, {"bearer", s.Bearer}} {
		if scheme.used {
			security.Content = append(security.Content, mapping(scheme.name, list()))
			set(schemes, scheme.name, get(root, "components", "securitySchemes", scheme.name))
		}
	}
	if len(schemes.Content) == 0 {
		remove(get(root, "components"), func(key string, _ *yaml.Node) bool { return key == "securitySchemes" })
	} else {
		set(get(root, "components"), "securitySchemes", schemes)
	}
	set(root, "security", security)
}
