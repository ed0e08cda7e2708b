package exec_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// snapshotOf describes every file below the directory, with its time, and the other files with their content.
func snapshotOf(t *testing.T, dir string, others ...string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err == nil {
			fmt.Fprintf(&b, "%s %s %d %s\n", path, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range others {
		fmt.Fprintf(&b, "%s:\n%s\n", name, readFile(t, name))
	}
	return b.String()
}

// alive says whether the process runs.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	text := string(stat)
	return !strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " Z")
}
