// netlab-graph draws one graph for netlab-worker: it reads Netlab's description from standard input and writes SVG to standard
// output. It is a program of its own so that it can be killed; see package draw.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"netlab-runner/internal/draw"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
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
