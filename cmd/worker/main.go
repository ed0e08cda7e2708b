// netlab-worker runs the jobs of one lab host.
package main

import (
	"netlab-runner/internal/program"
	"netlab-runner/internal/program/workerprogram"
	"netlab-runner/internal/settings"
)

// version is set by the linker, see the Makefile.
var version = "dev"

func main() {
	program.Main("netlab-worker", version, settings.ParseWorker, workerprogram.Run)
}
