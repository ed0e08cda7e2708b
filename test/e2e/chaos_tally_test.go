package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// tallyPlugin is a plugin that counts: a line in a file of the host's for each Netlab command at the moments at which Netlab calls a
// plugin. It holds a lock for the directory as long as the command's process lives, however that ends, and says whose it was where
// it cannot have it. So what is known of runs does not come from the runner.
const tallyPlugin = `"""Counts the commands of Netlab."""

import fcntl
import hashlib
import json
import os
import sys
import time

TALLY = "@tally@"
LOCKS = "@locks@"
JOB = os.environ.get("RUNNER_JOB", "")
held = []


def note(hook):
    beside = ""
    here = os.getcwd()
    lock = os.open(os.path.join(LOCKS, hashlib.sha256(here.encode()).hexdigest()), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, JOB.encode(), 0)
        held.append(lock)
    except BlockingIOError:
        other = os.pread(lock, 1000, 0).decode()
        beside = "" if other == JOB else other  # a job's own command takes down the lab that another one of its replaces
        os.close(lock)
    line = {"job": JOB, "command": sys.argv[1], "hook": hook, "dir": here, "pid": os.getpid(), "time": time.time(), "beside": beside}
    out = os.open(TALLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(out, json.dumps(line).encode() + b"\n")
    os.close(out)
    print(f"tally \u2603 {sys.argv[1]} {hook} {JOB}", flush=True)


def init(topology):
    note("init")


def pre_shell_pre_start_lab(topology):
    note("start")


def pre_shell_pre_stop_lab(topology):
    note("stop")
`

// tallyLine is one line of the plugin.
type tallyLine struct {
	Job     string  `json:"job"`
	Command string  `json:"command"` // "create"
	Hook    string  `json:"hook"`    // "init", "start", "stop"
	Dir     string  `json:"dir"`
	PID     int     `json:"pid"`
	Time    float64 `json:"time"` // seconds since 1970
	// Beside is the job of another command that was under way in the directory.
	Beside string `json:"beside"`
}

// prepareLabs reads the sample labs, adds the plugin to each, and lays out the directories that all clients share.
func (c *chaos) prepareLabs(shared int) {
	c.t.Helper()
	locks := c.f.path("locks")
	if err := os.Mkdir(locks, 0o777); err != nil {
		c.t.Fatal(err)
	}
	plugin := strings.NewReplacer("@tally@", c.tally, "@locks@", locks).Replace(tallyPlugin)
	c.samples = map[string]map[string]string{}
	for _, name := range []string{"chatter", "external"} {
		dir := c.f.lab("sample-"+name, name)
		topology, err := os.ReadFile(filepath.Join(dir, "topology.yml"))
		if err != nil {
			c.t.Fatal(err)
		}
		chatter, err := os.ReadFile(filepath.Join(c.f.path("labs", "sample-chatter"), "chatter.py"))
		if err != nil {
			c.t.Fatal(err)
		}
		text := strings.Replace(string(topology), "plugin: [ chatter ]", "plugin: [ tally, chatter ]", 1)
		if name == "external" {
			// Netlab calls plugins of a lab that it starts and stops where its defaults say so.
			text = strings.Replace(text, "defaults:\n", "plugin: [ tally, chatter ]\n\ndefaults:\n  netlab: { up.plugin: [ tally ], down.plugin: [ tally ] }\n", 1)
		}
		c.samples[name] = map[string]string{"topology.yml": text, "chatter.py": string(chatter), "tally.py": plugin}
	}
	for n := range shared {
		if _, err := c.layOut(c.sharedDir(n), "external", object{"lines": 3, "seconds": 0.3}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// readTally reads what the plugin has written.
func (c *chaos) readTally() (lines []tallyLine) {
	c.t.Helper()
	content, err := os.ReadFile(c.tally)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	for text := range strings.Lines(string(content)) {
		var line tallyLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			c.t.Fatalf("%s: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}
