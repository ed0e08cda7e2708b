package settings

import (
	"fmt"
	"strings"
	"time"
)

// Sync is how often the bus's server forces to the disk what it has stored. As text it is "always" or a duration.
type Sync struct {
	// Always forces every message to the disk before it is acknowledged.
	Always bool
	// Interval is the time between two syncs, above 0 where Always is not set.
	Interval time.Duration
}

// UnmarshalText reads "always" or a duration above 0.
func (s *Sync) UnmarshalText(text []byte) error {
	if strings.EqualFold(string(text), "always") {
		*s = Sync{Always: true}
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither 'always' nor a duration above 0: write it like 1s or 2m", text)
	}
	*s = Sync{Interval: d}
	return nil
}

// String is the text that UnmarshalText reads.
func (s Sync) String() string {
	if s.Always {
		return "always"
	}
	return duration(s.Interval)
}
