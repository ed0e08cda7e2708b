package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/standins"
)

// walkPatience is how long a job may take, its timeout of a minute and its stop included.
const walkPatience = 3 * time.Minute

func (w *walk) python() string { return standins.Python(w.t) }

// wait waits until the job has ended, and sees that nothing of it is left.
func (w *walk) wait(id string) error {
	w.t.Helper()
	var job jobs.Job
	for end := time.Now().Add(walkPatience); ; time.Sleep(pollPause) {
		if job = w.seen(id); job.State.Terminal() {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("job %s (%s in %s) has not ended: %s %s, processes %v", id, job.Action, job.Workdir, job.State, job.Phase, processesOf(id))
		}
	}
	w.open = slices.DeleteFunc(w.open, func(other string) bool { return other == id })
	w.tell("%s in %s: %s %s %s", job.Action, job.Workdir, job.State, job.Reason, text(job.Error))
	_, log := w.f.any().do(w.t, "GET", "/jobs/"+id+"/log?follow=true", nil)
	w.tell("  %s", strings.ReplaceAll(strings.TrimSpace(string(log)), "\n", "\n  "))
	// A process that was killed is gone when its parent has been told.
	for end := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := processesOf(id)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("job %s (%s, %s) has ended, and these of its processes have not: %q", id, job.Action, job.State, left)
		}
	}
}

// processesOf lists the processes of a job, by the mark in their environment.
func processesOf(id string) (list []string) {
	for pid := range jobPIDs(id) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		list = append(list, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return list
}

func jobPIDs(id string) map[int]bool {
	pids := map[int]bool{}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(content), "\x00"), "RUNNER_JOB="+id) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				pids[pid] = true
			}
		}
	}
	return pids
}

// killOf kills a process of the job: its driver, the driver's child, or the youngest one. 0: there is none.
func (w *walk) killOf(id, which string) int {
	pids := jobPIDs(id)
	var driver struct{ PID int }
	files, _ := filepath.Glob(w.f.path("data", "worker", "jobs", id, "run-*", "driver.json"))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			_ = json.Unmarshal(content, &driver)
		}
	}
	victim := 0
	for pid := range pids {
		switch {
		case which == "kill driver" && pid == driver.PID,
			which == "kill command" && parent(pid) == driver.PID && pid != driver.PID,
			which == "kill one" && pid > victim:
			victim = pid
		}
	}
	if victim > 0 {
		_ = syscall.Kill(victim, syscall.SIGKILL)
	}
	return victim
}

func parent(pid int) int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(content), ") ")
	if fields := strings.Fields(rest); len(fields) > 1 {
		ppid, _ := strconv.Atoi(fields[1])
		return ppid
	}
	return -1
}

// holds says what is wrong after a job that has said it was a success, and that nobody has disturbed.
func (w *walk) holds(l *walkLab, action, id string) error {
	w.t.Helper()
	job := w.seen(id)
	if job.State != jobs.Success {
		return nil
	}
	var mine []standins.Container
	for _, c := range w.f.standins.Containers() {
		if filepath.Dir(c.Topology) == l.dir() {
			mine = append(mine, c)
		}
	}
	_, locked := os.Lstat(filepath.Join(l.dir(), "netlab.lock"))
	switch action {
	case "up", "restart":
		for _, c := range mine {
			if c.State != "running" {
				return fmt.Errorf("after a successful %s the container %s is %s", action, c.Name, c.State)
			}
		}
		if locked != nil {
			return fmt.Errorf("after a successful %s in %s there is no lock", action, l.dir())
		}
	case "down", "destroy":
		if len(mine) > 0 || locked == nil {
			return fmt.Errorf("after a successful %s in %s: lock %v, containers %+v", action, l.dir(), locked == nil, mine)
		}
		for key, dir := range w.entries() {
			if dir == l.dir() {
				return fmt.Errorf("after a successful %s in %s there is the status entry %s", action, dir, key)
			}
		}
		if action == "destroy" {
			return w.clean(l)
		}
	}
	return nil
}

// entries are the directories of the status file's labs by their ids.
func (w *walk) entries() map[string]string {
	var status map[string]struct{ Dir string }
	content, err := os.ReadFile(w.f.path("home", ".netlab", "status.yaml"))
	if err == nil {
		err = yaml.Unmarshal(content, &status)
	}
	entries := map[string]string{}
	for key, entry := range status {
		entries[key] = entry.Dir
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		entries["damaged"] = err.Error()
	}
	return entries
}

// ambiguous are files that a user may have, too: where nothing else says that Netlab was there, they stay.
var ambiguous = []string{"hosts.yml", "ansible.cfg", "group_vars", "host_vars", "clab_files", "config", "clab.yml", "clab-augment.yml", "external.txt", "node_files"}

// clean says what of a lab's directory is there and is not the user's own.
func (w *walk) clean(l *walkLab) error {
	var strange []string
	entries, _ := os.ReadDir(l.dir())
	for _, e := range entries {
		if _, ok := l.own[e.Name()]; !ok && (!w.byHand(l) || !slices.Contains(ambiguous, e.Name())) {
			strange = append(strange, e.Name())
		}
	}
	if len(strange) > 0 {
		return fmt.Errorf("after destroy %s has %q", l.dir(), strange)
	}
	return nil
}

// byHand says whether somebody has removed files of the lab's.
func (w *walk) byHand(l *walkLab) bool {
	if w.again {
		return false
	}
	return slices.ContainsFunc(w.taken, func(s step) bool {
		return (s.Lab == l.name || s.Name == l.name) && slices.Contains([]string{"delete", "swap", "pipe", "folder", "dangling link"}, s.Do)
	})
}

// empty says what is left on the host.
func (w *walk) empty() error {
	w.t.Helper()
	s := w.f.standins
	entries := w.entries()
	// A file that was cut in the middle of a path names a directory that was never a lab's, and that no job is about.
	maps.DeleteFunc(entries, func(key, dir string) bool {
		return key != "damaged" && !slices.ContainsFunc(w.labs, func(l *walkLab) bool { return slices.Contains(l.places, dir) })
	})
	if c, n, b, e := s.Containers(), s.Networks(), s.Bridges(), entries; len(c)+len(n)+len(b)+len(e) > 0 {
		return fmt.Errorf("left: containers %+v, networks %q, bridges %q, status entries %v", c, n, b, e)
	}
	return nil
}

// must runs a job that has to succeed.
func (w *walk) must(action, dir string, more object) error {
	payload := object{"action": action, "workdir": dir, "timeoutSeconds": 60}
	for key, value := range more {
		payload[key] = value
	}
	id := w.f.any().submit(w.t, payload).ID
	w.open = append(w.open, id)
	if err := w.wait(id); err != nil {
		return err
	}
	if job := w.seen(id); job.State != jobs.Success {
		return fmt.Errorf("%s in %s: %s, %s: %s", action, dir, job.State, job.Reason, text(job.Error))
	}
	return nil
}

// end brings every lab of the round to a good end: destroy, up, destroy.
func (w *walk) end() error {
	w.t.Helper()
	w.tell("the end")
	if err := w.settle(); err != nil {
		return err
	}
	for _, name := range programSteps {
		w.f.standins.SetKnob(name)
	}
	var touched []*walkLab
	for _, l := range w.labs {
		if slices.ContainsFunc(w.taken, func(s step) bool { return s.Lab == l.name || s.Name == l.name }) {
			touched = append(touched, l)
		}
	}
	before := map[string]string{}
	places := slices.Clone(w.ghosts)
	for _, l := range touched {
		places = append(places, l.places...)
		before[l.name] = ownFiles(l)
	}
	slices.Sort(places)
	places = slices.Compact(places)
	for _, dir := range places {
		_, err := os.Lstat(dir)
		there := err == nil
		if err := w.must("destroy", dir, nil); err != nil {
			return err
		}
		if exists(w.t, dir) && !there {
			return fmt.Errorf("destroy has left the directory %s, which was not there", dir)
		}
	}
	for _, l := range touched {
		if err := w.clean(l); err != nil {
			return err
		}
		if after := ownFiles(l); after != before[l.name] {
			return fmt.Errorf("destroy has changed the user's files of %s: %s, before it %s", l.dir(), after, before[l.name])
		}
	}
	if err := w.empty(); err != nil {
		return err
	}
	w.again = true
	for _, l := range touched {
		for _, name := range ambiguous {
			_ = os.RemoveAll(filepath.Join(l.dir(), name))
		}
		if err := w.startAgain(l); err != nil {
			return err
		}
	}
	return nil
}

// startAgain starts a lab that was destroyed, and destroys it.
func (w *walk) startAgain(l *walkLab) error {
	w.t.Helper()
	w.layOut(l)
	if err := w.must("up", l.dir(), l.payload); err != nil {
		return err
	}
	running := 0
	for _, c := range w.f.standins.Containers() {
		if c.State == "running" && filepath.Dir(c.Topology) == l.dir() {
			running++
		}
	}
	if running != l.nodes {
		return fmt.Errorf("%d containers run in %s, want %d: %+v", running, l.dir(), l.nodes, w.f.standins.Containers())
	}
	if err := w.must("destroy", l.dir(), nil); err != nil {
		return err
	}
	return errors.Join(w.clean(l), w.empty())
}

// ownFiles are the sizes of the user's own files.
func ownFiles(l *walkLab) string {
	var files []string
	for name := range l.own {
		if info, err := os.Stat(filepath.Join(l.dir(), name)); err == nil {
			files = append(files, fmt.Sprintf("%s (%d)", name, info.Size()))
		}
	}
	slices.Sort(files)
	return strings.Join(files, ", ")
}
