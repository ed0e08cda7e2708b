package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sampledPython is an interpreter that notes where the runs of Netlab spend processor time, in a file of that name: see sampler.
func (n *netlab) sampledPython(name string) (string, error) {
	samples := filepath.Join(n.profile, name+".folded")
	if err := os.WriteFile(samples, nil, 0o644); err != nil {
		return "", err
	}
	dir, err := n.newDir("python")
	if err != nil {
		return "", err
	}
	python := filepath.Join(dir, "python")
	text := fmt.Sprintf("#!/bin/sh\nPYTHONPATH=%s BENCH_SAMPLES=%s exec %s \"$@\"\n",
		quoted(filepath.Join(n.root, "test", "bench", "sampler")), quoted(samples), quoted(n.python))
	return python, os.WriteFile(python, []byte(text), 0o755)
}

// quoted is a word of the shell's.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
