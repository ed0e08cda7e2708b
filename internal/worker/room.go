package worker

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leastRoom is the room on a disk below which a run cannot but fail: some lines of output, a file of a node.
const leastRoom = 64 << 10

// hasNoRoom says whether the disk of a directory is full. One that cannot be looked at is not known to be.
func hasNoRoom(dir string) bool {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return false
	}
	return disk.Bavail*uint64(disk.Bsize) < leastRoom || disk.Files > 0 && disk.Ffree == 0
}

// noRoom names the disk that is full when a run has failed, for the end of a sentence: Netlab's own words say at most that a file could not be
// written, and those that its output had no room for are lost.
func (r *run) noRoom() string {
	for _, place := range []struct{ dir, of string }{
		{r.w.config.DataDir, "NETLAB_WORKER_DATA_DIR"},
		{r.scene.Dir, "the working directory"},
	} {
		if hasNoRoom(place.dir) {
			r.log.Error("a run has failed on a full disk: make room", "dir", place.dir)
			return fmt.Sprintf("; the disk of %s, %s, is full: make room there and submit the job again", place.of, place.dir)
		}
	}
	return ""
}
