package artifact

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	maxPattern     = 256
	maxDoubleStars = 4
)

// CheckPattern says what is wrong with a pattern of paths: one with '*', '?', '[…]' for a part of a name and '**' for any
// number of directories. A pattern without '/' means files in the working directory itself.
func CheckPattern(p string) error {
	switch {
	case len(p) > maxPattern:
		return fmt.Errorf("has more than %d bytes: use a shorter one", maxPattern)
	case strings.HasPrefix(p, "/"):
		return errors.New("is absolute: give it relative to a job's working directory")
	case strings.Contains("/"+p+"/", "/../"):
		return errors.New("has a '..' in it: only files below a job's working directory are kept")
	case strings.ContainsAny(p, "{}"):
		return errors.New("has a brace in it: write one pattern for each alternative")
	case strings.Count(p, "**") > maxDoubleStars:
		return fmt.Errorf("has '**' more than %d times: use fewer", maxDoubleStars)
	case !doublestar.ValidatePattern(p):
		return errors.New("is no pattern: use '*', '?' and '[a-z]' for a part of a name, '**' for directories")
	}
	return nil
}

// Matches says whether one of the patterns is of the path.
func Matches(patterns []string, p string) bool {
	for _, pattern := range patterns {
		if ok, err := doublestar.Match(pattern, p); err == nil && ok {
			return true
		}
	}
	return false
}
