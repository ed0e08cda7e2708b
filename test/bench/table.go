package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// row is one line of the table. Here and Baseline have a value of each round; the ratio is that of their medians.
type row struct {
	// Name is the same in all runs of a revision: bench-compare finds the row by it.
	Name     string    `json:"name"`
	Unit     string    `json:"unit"`
	Better   better    `json:"better"`
	Here     []float64 `json:"here"`
	Baseline []float64 `json:"baseline,omitempty"`
	// Beside says what the baseline is.
	Beside string `json:"beside,omitempty"`
}

// better says which value of a row is the better one.
type better string

const (
	more better = "more"
	less better = "less"
)

// entry is a row with its figure, and with its goals, if it has any.
type entry struct {
	Figure string `json:"figure"`
	row
	Goals []goal `json:"goals,omitempty"`
	// Reference says that this program has no part in the row: bench-compare shows it and fails by none.
	Reference bool `json:"reference,omitempty"`
}

// table is what is printed, and written as JSON.
type table struct {
	Surroundings string  `json:"surroundings"`
	Rows         []entry `json:"rows"`
}

// surroundings are what the figures depend on.
func surroundings(o *options) string {
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	size := ""
	if o.short {
		size = "; a short run, whose figures mean nothing"
	}
	return fmt.Sprintf("%s, %d cores, load before %s, %s, on %s; rounds: %d, of which the median, with the least and the most in brackets%s",
		revision(o.root), runtime.NumCPU(), load, runtime.Version(), fileSystem(o.dir), o.rounds, size)
}

// revision is that of the code, as git has it.
func revision(root string) string {
	out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown revision"
	}
	return "revision " + strings.TrimSpace(string(out))
}

// fileSystem is the kind of the one that a directory is on, empty for that of temporary files.
func fileSystem(dir string) string {
	var of unix.Statfs_t
	if err := unix.Statfs(cmp.Or(dir, os.TempDir()), &of); err != nil {
		return "unknown files"
	}
	switch of.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return fmt.Sprintf("files of type %#x", of.Type)
}

func (t *table) write(w io.Writer) error {
	var text bytes.Buffer // to which no write fails
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(columns, "%s\n\nfigure\tunit\there\tbaseline\tratio\tbetter\tgoal\tmet\tthe baseline\n", t.Surroundings)
	for _, r := range t.Rows {
		ratio := "–"
		if base := median(r.Baseline); base > 0 {
			ratio = number(median(r.Here) / base)
		}
		beside := r.Beside
		if beside == "" {
			beside = "–"
		}
		wanted, met := r.goal()
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Name, r.Unit, spread(r.Here), spread(r.Baseline), ratio, r.Better, wanted, met, beside)
	}
	_ = columns.Flush()
	_, err := text.WriteTo(w)
	return err
}

// spread shows the median with the least and the most.
func spread(values []float64) string {
	switch len(values) {
	case 0:
		return "–"
	case 1:
		return number(values[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values)), number(slices.Min(values)), number(slices.Max(values)))
}

// number writes two or three significant digits, or all of a large number's.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func writeJSON(file string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
