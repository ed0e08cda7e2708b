package exec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"netlab-runner/internal/jobs"
)

// Lab is what the worker knows of a working directory before a run.
type Lab struct {
	// Topology is the topology file, relative to the working directory.
	Topology string
	// Absent says that there is no lab to take down, so that a restart only starts one.
	Absent bool
}

// Plan returns the commands of the request's action. Its paths are taken as they are: they have been checked.
func Plan(req jobs.Request, lab Lab) ([]Command, error) {
	switch req.Action {
	case jobs.Create, jobs.Up:
		start, err := start(string(req.Action), req, lab)
		if err != nil {
			return nil, err
		}
		return []Command{start}, nil
	case jobs.Restart:
		// Two commands, because Netlab's own restart forgets settings and plugins: a multilab would come back as "default".
		up, err := start("up", req, lab)
		if err != nil {
			return nil, err
		}
		if lab.Absent {
			return []Command{up}, nil
		}
		return []Command{{Name: "down", AbsentOK: true}, up}, nil
	case jobs.Down:
		down := Command{Name: "down", AbsentOK: true}
		if req.Cleanup {
			down.Args = []string{"--cleanup"}
		}
		return []Command{down}, nil
	case jobs.Destroy:
		// Forced twice: otherwise Netlab asks where its status file has the lab in another directory.
		return []Command{{Name: "down", Args: []string{"--cleanup", "--force", "--force"}, AbsentOK: true}}, nil
	case jobs.Collect:
		return []Command{{Name: "collect", Args: collectArgs(req)}}, nil
	case jobs.Status:
		status := Command{Name: "status"}
		if req.Instance != "" {
			status.Args = []string{req.Instance}
		}
		return []Command{status}, nil
	default:
		return nil, fmt.Errorf("planning a run: unknown action %q", req.Action)
	}
}

// start is a create or an up. A multilab id goes with the plugin that knows what to do with it.
func start(name string, req jobs.Request, lab Lab) (Command, error) {
	if lab.Topology == "" {
		return Command{}, fmt.Errorf("planning netlab %s: no topology", name)
	}
	if strings.Contains(lab.Topology, "://") {
		return Command{}, fmt.Errorf("planning netlab %s: topology %q is a URL, which Netlab would fetch unchecked", name, lab.Topology)
	}
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
	topology := lab.Topology
	if strings.HasPrefix(topology, "-") {
		topology = "./" + topology // not an option
	}
	return Command{Name: name, Args: append(args, topology)}, nil
}

// DefaultOutput is where collect puts configurations unless told otherwise. It is Netlab's own default, said on its command
// line so that it stays the one that others look in.
const DefaultOutput = "config"

func collectArgs(req jobs.Request) []string {
	args := []string{"--output=" + cmp.Or(req.CollectOutput, DefaultOutput)}
	if req.CollectTar != "" {
		args = append(args, "--tar="+req.CollectTar)
	}
	if req.CollectCleanup {
		args = append(args, "--cleanup")
	}
	return args
}
