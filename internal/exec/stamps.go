package exec

import (
	"fmt"
	"os"
	"syscall"
)

// stamps are files and folders, of which some change whenever something is installed for an interpreter, and what each was like: its
// time, size and number, "" where there is none. See driver/stamps.py.
type stamps map[string]string

func (s stamps) changed() bool {
	for path, known := range s {
		if stamp(path) != known {
			return true
		}
	}
	return false
}

func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Sys().(*syscall.Stat_t).Ino)
}
