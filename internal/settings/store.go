package settings

import (
	"net"
	"strconv"
)

// Store is what the API makes on the bus and, where it runs the server itself, how that server keeps it.
type Store struct {
	// Listen is the host:port on loopback that the embedded server listens on, port 0 for a free one. Defaults to none:
	// it has no listener.
	Listen string `help:"Address, HOST:PORT on loopback, where the embedded server takes connections; port 0 takes a free one." name:"bus-listen" placeholder:"HOST:PORT" variable:"NETLAB_BUS_LISTEN"`

	// Sync is how often the embedded server forces to the disk what it has stored. Defaults to 1 s.
	Sync Sync `default:"1s" help:"How often the embedded server forces what it stores to the disk; a power cut loses what came since. 'always' loses nothing, and every message waits for the disk." name:"bus-sync" placeholder:"DURATION|always" variable:"NETLAB_BUS_SYNC"`

	// Replicas is on how many servers of a cluster each stream is kept, 1 to 5. Defaults to 1.
	Replicas int `default:"1" help:"On how many servers of the cluster everything is kept, 1 to 5." name:"bus-replicas" placeholder:"NUMBER" variable:"NETLAB_BUS_REPLICAS"`

	// JobsBytes limits the stream of jobs and their states, in bytes. Defaults to 512 MiB.
	JobsBytes Size `default:"512MiB" help:"Size of the stream of jobs and their states; when it is full, no job is accepted." name:"bus-jobs-bytes" placeholder:"SIZE" variable:"NETLAB_BUS_JOBS_BYTES"`

	// LogsBytes limits the stream of logs, in bytes. Defaults to 4 GiB.
	LogsBytes Size `default:"4GiB" help:"Size of the stream of logs." name:"bus-logs-bytes" placeholder:"SIZE" variable:"NETLAB_BUS_LOGS_BYTES"`

	// ObjectsBytes limits the stream of large topologies and bundles, in bytes. Defaults to 1 GiB.
	ObjectsBytes Size `default:"1GiB" help:"Size of the stream of topologies and bundles that are too large for a message." name:"bus-objects-bytes" placeholder:"SIZE" variable:"NETLAB_BUS_OBJECTS_BYTES"`
}

// validate takes whether the bus is somebody else's server.
func (s *Store) validate(external bool) []Fault {
	var faults []Fault
	if s.Listen != "" {
		faults = append(faults, s.validateListen(external)...)
	}
	if s.Replicas < 1 || s.Replicas > 5 {
		faults = append(faults, faultf("NETLAB_BUS_REPLICAS", "%d is out of range: use 1 to 5", s.Replicas))
	} else if s.Replicas > 1 && !external {
		faults = append(faults, faultf("NETLAB_BUS_REPLICAS", "%d copies need a cluster, and the embedded server is alone: use 1, or name a cluster's servers with NETLAB_BUS_URL", s.Replicas))
	}
	if s.JobsBytes < 1<<20 {
		faults = append(faults, faultf("NETLAB_BUS_JOBS_BYTES", "%v is too small: use 1MiB or more", s.JobsBytes))
	}
	if s.LogsBytes < 1<<20 {
		faults = append(faults, faultf("NETLAB_BUS_LOGS_BYTES", "%v is too small: use 1MiB or more", s.LogsBytes))
	}
	if s.ObjectsBytes < 1<<20 {
		faults = append(faults, faultf("NETLAB_BUS_OBJECTS_BYTES", "%v is too small: use 1MiB or more", s.ObjectsBytes))
	}
	return faults
}

func (s *Store) validateListen(external bool) []Fault {
	if external {
		return []Fault{faultf("NETLAB_BUS_LISTEN", "is for the embedded server, and NETLAB_BUS_URL names another: set one of the two")}
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return []Fault{faultf("NETLAB_BUS_LISTEN", "%q is no address: write it like 127.0.0.1:4222", s.Listen)}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return []Fault{faultf("NETLAB_BUS_LISTEN", "%q is no port: use 1 to 65535, or 0 for a free one", port)}
	}
	if !loopback(host) {
		return []Fault{faultf("NETLAB_BUS_LISTEN", "%q is not a loopback address, and the embedded server serves this machine alone: use 127.0.0.1:%s, or a server of its own with NETLAB_BUS_URL", host, port)}
	}
	return nil
}
