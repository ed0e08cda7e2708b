// netlab-graph draws one graph for netlab-worker: it reads Netlab's description from standard input and writes SVG to standard
// output. It is a program of its own so that it can be killed; see package draw.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/draw"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := limit(); err != nil {
		return fmt.Errorf("this process cannot be limited: %w", err)
	}
	description, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	picture, err := draw.Read(description)
	if err != nil {
		return err
	}
	image, err := picture.SVG(context.Background())
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(image)
	return err
}

// limit bounds what drawing may use, and Graphviz is ready by now; limits that are lower stay. The worker, which kills this process when it
// takes too long, may be killed itself, and cannot set the limits: even root needs a right of its own to limit another user's process, which
// it has not in most containers.
func limit() error {
	for resource, most := range map[int]uint64{
		unix.RLIMIT_CPU:  20,      // seconds
		unix.RLIMIT_AS:   6 << 30, // bytes of addresses, of which the most are reserved only
		unix.RLIMIT_CORE: 0,
	} {
		var set unix.Rlimit
		if err := unix.Getrlimit(resource, &set); err != nil {
			return err
		}
		most = min(most, set.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: min(most, set.Cur), Max: most}); err != nil {
			return err
		}
	}
	return nil
}
