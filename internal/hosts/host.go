// Package hosts holds what a lab host says of itself: the value of its lease.
package hosts

import (
	"fmt"
	"regexp"
	"time"
)

// Readers is how many jobs of one action that changes nothing run at once on a host, beside those that take a slot.
const Readers = 8

// Host is what a worker announces in its lease and what GET /hosts shows.
type Host struct {
	// Name is the host's name, one subject token: see ValidName.
	Name string `json:"name"`
	// Identity is a random text from the worker's data directory. A lease is taken over only by its own identity.
	Identity string `json:"identity"`
	// Online is set by the API: the lease is alive.
	Online bool `json:"online"`
	// Version is the worker's own version.
	Version string `json:"version"`
	// StartedAt is when the worker process started, to the nanosecond: it tells one process from another.
	StartedAt time.Time `json:"startedAt"`
	// Slots is how many jobs run at once.
	Slots int `json:"slots"`
	// Running and Queued count the worker's jobs. An API shows those that it knows of instead.
	Running int `json:"running"`
	Queued  int `json:"queued"`
	// Load is the one-minute load average divided by the number of cores.
	Load float64 `json:"load"`
	// Labels are the operator's, for placement.
	Labels map[string]string `json:"labels"`
	// Roots are the absolute directories below which working directories may lie.
	Roots []string `json:"roots"`
	// URLNetworks are the internal networks, such as "10.1.0.0/16", that a topologyUrl may point into on this host.
	URLNetworks []string `json:"urlNetworks,omitempty"`
	// Templates is the template root, empty where the host has none.
	Templates string `json:"templates"`
	// PublicKey is the host's curve key (nkeys, "X…"), to which environment values are sealed.
	PublicKey string `json:"publicKey"`
	// Unserved says that the worker waits for an API to make the consumer that gives it its requests.
	Unserved bool `json:"unserved,omitempty"`
	// Error is what keeps the worker from taking jobs just now, and where it is known the remedy; empty where nothing does.
	Error string `json:"error,omitempty"`
	// Netlab says which Netlab the host has, or what is wrong with it.
	Netlab Netlab `json:"netlab"`
}

// Netlab is the host's installation of Netlab.
type Netlab struct {
	// Version as the package states it, empty where it could not be told.
	Version string `json:"version"`
	// Python is the interpreter that imports it.
	Python string `json:"python"`
	// Error is empty where jobs can run; else what is wrong and the remedy.
	Error string `json:"error,omitempty"`
}

var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// ValidName says why s cannot name a host, or nil.
func ValidName(s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("host name %q: use 1 to 63 letters, digits, '_' and '-'", s)
	}
	return nil
}
