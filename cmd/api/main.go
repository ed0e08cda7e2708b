// netlab-api serves the HTTP API, and with --with-worker a worker too.
package main

import (
	"netlab-runner/internal/program"
	"netlab-runner/internal/program/apiprogram"
	"netlab-runner/internal/settings"
)

// version is set by the linker, see the Makefile.
var version = "dev"

func main() {
	program.Main("netlab-api", version, settings.ParseAPI, apiprogram.Run)
}
