package exec

import (
	"fmt"
	"slices"
	"strings"

	"netlab-runner/internal/jobs"
)

// Lab is what the worker knows of a working directory before a run.
type Lab struct {
	// Topology is the topology file, relative to the working directory. A restart does without: it then starts what the lab that
	// is there was made of.
	Topology string
	// FreeID is a multilab id that nobody has, for a lab whose topology wants one; empty where it is not known to.
	FreeID string
}

// Plan returns the one command of the request's action. Its paths are taken as they are: they have been checked. What the
// command does in each state of a lab is the driver's to find out, at the moment when it does it.
func Plan(req jobs.Request, lab Lab) ([]Command, error) {
	command := Command{Name: string(req.Action)}
	switch req.Action {
	case jobs.Create, jobs.Up, jobs.Restart, jobs.Validate:
		if lab.Topology == "" && req.Action != jobs.Restart {
			return nil, fmt.Errorf("planning netlab %s: no topology", req.Action)
		}
		if strings.Contains(lab.Topology, "://") {
			return nil, fmt.Errorf("planning netlab %s: topology %q is a URL, which Netlab would fetch unchecked", req.Action, lab.Topology)
		}
		command.Args, command.Topology, command.FreeID = options(req), lab.Topology, lab.FreeID
	case jobs.Down:
		if req.Cleanup {
			command.Args = []string{"--cleanup"}
		}
		command.Instance = req.Instance
	case jobs.Destroy:
		command.Instance = req.Instance
	case jobs.Collect:
		command.Args, command.Instance = collectArgs(req), req.Instance
	case jobs.Status:
		if req.Instance != "" {
			command.Args = []string{req.Instance}
		}
	default:
		return nil, fmt.Errorf("planning a run: unknown action %q", req.Action)
	}
	return []Command{command}, nil
}

// options are Netlab's for the request. A multilab id goes with the plugin that knows what to do with it.
func options(req jobs.Request) []string {
	plugins := slices.Clone(req.Plugin)
	if req.MultilabID != "" && !slices.Contains(plugins, "multilab") {
		plugins = append(plugins, "multilab")
	}
	var args []string
	for _, plugin := range plugins {
		args = append(args, "--plugin="+plugin)
	}
	if req.MultilabID != "" {
		args = append(args, "-s", "defaults.multilab.id="+req.MultilabID)
	}
	return args
}

// collectArgs says Netlab's defaults on its command line as well, so that they stay what others look for.
func collectArgs(req jobs.Request) []string {
	args := []string{"--output=" + req.Output()}
	if tarball := req.Tarball(); tarball != "" {
		args = append(args, "--tar="+tarball)
	}
	if req.CollectCleanup {
		args = append(args, "--cleanup")
	}
	return args
}
