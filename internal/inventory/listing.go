package inventory

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"netlab-runner/internal/account"
)

// Listing is what a look at the labs of a machine has found.
type Listing struct {
	// Labs are those that a status file lists first, in the order of the files, then those that only Docker knows.
	Labs []Lab
	// Problems are what is wrong with files, a line each, for people.
	Problems []string
	// NoDocker is why containers are not known, empty where they are.
	NoDocker string

	// local are the networks of the machine's interfaces.
	local []netip.Prefix
	// homes are the status files of users by their numbers.
	homes map[int]string
}

// At returns the labs in a directory, given by its real path. Those of the directory's owner come first: a status file can name
// any directory.
func (l *Listing) At(dir string) (labs []Lab) {
	dir = filepath.Clean(dir)
	for _, lab := range l.Labs {
		if lab.Dir != "" && lab.Dir == dir {
			labs = append(labs, lab)
		}
	}
	if len(labs) > 1 {
		uid, err := account.OwnerOf(dir)
		slices.SortStableFunc(labs, func(a, b Lab) int {
			switch isA, isB := err == nil && a.uid == uid, err == nil && b.uid == uid; {
			case isA && !isB:
				return -1
			case isB && !isA:
				return 1
			default:
				return 0
			}
		})
	}
	return labs
}

// Lab returns the lab of that key.
func (l *Listing) Lab(key string) (*Lab, bool) {
	for _, lab := range l.Labs {
		if lab.Key == key {
			return &lab, true
		}
	}
	return nil, false
}

// Entries are the labs that a status file lists: those that Netlab itself would show.
func (l *Listing) Entries() []Lab {
	return slices.DeleteFunc(slices.Clone(l.Labs), func(lab Lab) bool { return lab.Entry == nil })
}

// JSON is what `netlab status --all --format json` would print if there were one status file: the entries by their keys. {}
// where there are none.
func (l *Listing) JSON() (json.RawMessage, error) {
	entries := map[string]map[string]any{}
	for _, lab := range l.Entries() {
		entries[lab.Key] = lab.Entry
	}
	text, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the entries of the status files: %w", err)
	}
	return text, nil
}

// Text is what `netlab status --all` would print: a table of the entries.
func (l *Listing) Text() string {
	rows := [][]string{{"id", "directory", "status", "providers"}}
	for _, lab := range l.Entries() {
		status := lab.Status
		if status == "" {
			status = "Unknown"
		}
		rows = append(rows, []string{lab.Key, shown(asText(lab.Entry["dir"])), status, strings.Join(lab.Providers, ",")})
	}
	if len(rows) == 1 {
		return "No netlab-managed labs\n"
	}
	return "Active lab instance(s)\n\n" + table(rows)
}

// table draws rows, the first of which is the heading, as the nodes' tables of status jobs are drawn. No cell is cut.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.Join(strings.Fields(strings.ReplaceAll(cell, "│", "|")), " ")
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	rule := func(left, middle, right string) {
		for i, width := range widths {
			b.WriteString(map[bool]string{true: left, false: middle}[i == 0] + strings.Repeat("─", width+2))
		}
		b.WriteString(right + "\n")
	}
	rule("┌", "┬", "┐")
	for n, row := range rows {
		for i, cell := range row {
			b.WriteString("│ " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("│\n")
		if n == 0 {
			rule("├", "┼", "┤")
		}
	}
	rule("└", "┴", "┘")
	return b.String()
}
