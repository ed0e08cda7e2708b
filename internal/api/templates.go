package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/bus"
)

// templatesQuestion is what a host is asked at its endpoint "templates".
type templatesQuestion struct {
	// Dir is relative to the host's template root; empty: the root itself.
	Dir string `json:"dir"`
}

// getTemplates lists the topologies in a directory below a host's template root.
func (s *Server) getTemplates(c *fiber.Ctx) error {
	dir, err := templateDir(c.Query("dir"))
	if err != nil {
		return err
	}
	host, err := s.oneHostOf(c)
	if err != nil {
		return err
	}
	reply := struct {
		Templates []json.RawMessage `json:"templates"`
	}{}
	err = s.ask(host, "templates", askTimeout, templatesQuestion{Dir: dir}, &reply)
	var refused *bus.HostError
	if errors.As(err, &refused) {
		// No template root, no such directory, or one that it may not read.
		return failed(http.StatusNotFound, "dir: %s", refused.Error())
	}
	if err != nil {
		return err
	}
	if reply.Templates == nil {
		reply.Templates = []json.RawMessage{}
	}
	return c.JSON(reply)
}

// templateDir checks a directory by its words; symlinks are for the host to see.
func templateDir(dir string) (string, error) {
	switch {
	case dir == "":
		return "", nil
	case !utf8.ValidString(dir) || strings.ContainsRune(dir, 0):
		return "", invalid("dir", "holds bytes that no path has: use UTF-8 without NUL")
	case strings.HasPrefix(dir, "/"):
		return "", invalid("dir", "%q is absolute: name a directory relative to the template root", shown(dir))
	case slices.Contains(strings.Split(dir, "/"), ".."):
		return "", invalid("dir", "%q leads out of the template root: leave '..' out", shown(dir))
	}
	return path.Clean(dir), nil
}
