package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// dockerPatience is how long Docker is waited for, all questions together.
	dockerPatience = 8 * time.Second
	mostOutput     = 16 << 20
	mostErrors     = 64 << 10
)

// container is a container of a lab's.
type container struct {
	name string
	// lab is containerlab's name of the lab.
	lab string
	// topology is the path of the file that it was made from, empty where it is not known.
	topology string
	running  bool
	networks []string
}

// docker asks Docker by its program.
type docker struct{ program, path string }

// findDocker returns the program on that path.
func findDocker(path string) (*docker, error) {
	for dir := range strings.SplitSeq(path, ":") {
		program := filepath.Join(dir, "docker")
		if info, err := os.Stat(program); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return &docker{program: program, path: path}, nil
		}
	}
	return nil, errors.New("there is no docker program on the worker's PATH")
}

// containers returns the containers of all labs, in any state.
func (d *docker) containers(ctx context.Context) ([]container, error) {
	output, err := d.ask(ctx, "ps", "-a", "--no-trunc", "--format", "json")
	if err != nil {
		return nil, err
	}
	containers, err := readContainers(output)
	if err != nil {
		return nil, fmt.Errorf("what docker ps says cannot be read: %w", err)
	}
	return containers, nil
}

// readContainers reads what docker ps says.
func readContainers(output []byte) (all []container, err error) {
	err = eachObject(output, func(object []byte) error {
		var row struct {
			Names, Labels, Networks any
			State                   string
		}
		if err := json.Unmarshal(object, &row); err != nil {
			return err
		}
		labels := labelsOf(row.Labels)
		names := listOf(row.Names)
		if labels["containerlab"] == "" || len(names) == 0 {
			return nil
		}
		c := container{name: names[0], lab: shown(labels["containerlab"]), running: row.State == "running", networks: listOf(row.Networks)}
		if file := labels["clab-topo-file"]; len(file) <= longestPath && plain(file) {
			c.topology = file
		}
		all = append(all, c)
		return nil
	})
	return all, err
}

// labelsOf are labels as a map, or as Docker joins them. A comma in a value looks as one between two labels does: what follows
// is taken for a label if it reads as one.
func labelsOf(value any) map[string]string {
	labels := map[string]string{}
	switch v := value.(type) {
	case map[string]any:
		for name, text := range v {
			labels[name] = asText(text)
		}
	case string:
		last := ""
		for part := range strings.SplitSeq(v, ",") {
			name, text, found := strings.Cut(part, "=")
			switch {
			case found && name != "" && !strings.ContainsAny(name, "/ "):
				if _, ok := labels[name]; !ok {
					labels[name] = text
				}
				last = name
			case last != "":
				labels[last] += "," + part
			}
		}
	}
	return labels
}

// listOf are names as a list, or as Docker joins them.
func listOf(value any) (names []string) {
	switch v := value.(type) {
	case string:
		names = strings.Split(v, ",")
	case []any:
		for _, name := range v {
			names = append(names, asText(name))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" || checkName("name", name) != nil })
}

// network is one of Docker's networks with the addresses of the containers that run in it, by name.
type network struct {
	Network
	addresses map[string]string
}

// networks returns those of the names that are there, by name.
func (d *docker) networks(ctx context.Context, names []string) (map[string]network, error) {
	// Some may go meanwhile, of which Docker complains, and tells of the others all the same.
	output, failed := d.ask(ctx, append([]string{"network", "inspect"}, names...)...)
	found, err := readNetworks(output)
	if len(found) == 0 && failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, fmt.Errorf("what docker network inspect says cannot be read: %w", err)
	}
	return found, nil
}

// readNetworks reads what docker network inspect says.
func readNetworks(output []byte) (map[string]network, error) {
	found := map[string]network{}
	err := eachObject(output, func(object []byte) error {
		var row struct {
			Name    string
			ID      string `json:"Id"`
			Options map[string]string
			IPAM    struct{ Config []struct{ Subnet string } }
			// Containers are by their ids.
			Containers map[string]struct{ Name, IPv4Address string }
		}
		if err := json.Unmarshal(object, &row); err != nil {
			return err
		}
		n := network{Network: Network{Name: row.Name, Bridge: row.Options["com.docker.network.bridge.name"]}, addresses: map[string]string{}}
		if n.Bridge == "" && len(row.ID) >= 12 {
			n.Bridge = "br-" + row.ID[:12] // as Docker names it
		}
		for _, pool := range row.IPAM.Config {
			if prefix, ok := (Network{Subnet: pool.Subnet}).prefix(); ok && prefix.Addr().Is4() {
				n.Subnet = pool.Subnet
			}
		}
		for _, c := range row.Containers {
			if address, _, _ := strings.Cut(c.IPv4Address, "/"); address != "" {
				n.addresses[c.Name] = address
			}
		}
		found[n.Name] = n
		return nil
	})
	return found, err
}

// eachObject calls f with every JSON object of a text that has them one after the other, or in a list.
func eachObject(text []byte, f func(object []byte) error) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if value[0] != '[' {
			if err := f(value); err != nil {
				return err
			}
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for _, object := range list {
			if err := f(object); err != nil {
				return err
			}
		}
	}
}

// ask runs docker and returns its output, also where it failed.
func (d *docker) ask(ctx context.Context, args ...string) ([]byte, error) {
	what := "docker " + args[0]
	cmd := exec.CommandContext(ctx, d.program, args...)
	cmd.Env = dockerEnv(d.path)
	cmd.Dir = "/"
	// What docker leaves behind may hold its output open.
	cmd.WaitDelay = 500 * time.Millisecond
	output, complaint := &bounded{most: mostOutput}, &bounded{most: mostErrors}
	cmd.Stdout, cmd.Stderr = output, complaint
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s has not answered for %v", what, dockerPatience)
	case output.over:
		return nil, fmt.Errorf("%s says more than %d bytes", what, mostOutput)
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return output.kept.Bytes(), nil
	}
	if text := strings.Join(strings.Fields(complaint.kept.String()), " "); text != "" {
		return output.kept.Bytes(), errors.New(shown(text))
	}
	return output.kept.Bytes(), fmt.Errorf("%s: %w", what, err)
}

// dockerEnv is the environment of docker: where it finds its daemon, and no secret.
func dockerEnv(path string) []string {
	env := []string{"PATH=" + path, "LANG=C.UTF-8"}
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// bounded keeps what is written to it up to a size, and takes the rest for nothing.
type bounded struct {
	// kept is not embedded: its ReadFrom would know no bound.
	kept bytes.Buffer
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.kept.Len()
	b.over = b.over || room < len(p)
	b.kept.Write(p[:min(room, len(p))])
	return len(p), nil
}
