package worker

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// leastRoom is the room on a disk below which a run cannot but fail: some lines of output, a file of a node.
const leastRoom = 64 << 10

// roomPatience bounds the look whether a disk is full that does not answer.
const roomPatience = 2 * time.Second

// hasNoRoom says whether the disk of a directory is full. One that cannot be looked at is not known to be.
func hasNoRoom(dir string) bool {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return false
	}
	// Some say neither how large they are nor what is free: a ramfs, a tmpfs without a limit.
	full := disk.Blocks > 0 && disk.Bavail*uint64(cmp.Or(disk.Frsize, disk.Bsize)) < leastRoom
	return full || disk.Files > 0 && disk.Ffree == 0
}

// noRoom names the disk that is full when a run has failed, of those that the run writes to, for the end of a sentence: Netlab's own words say
// at most that a file could not be written, and those that its output had no room for are lost. waited says that the result had to wait for room.
func (r *run) noRoom(ctx context.Context, waited bool) string {
	type place struct{ dir, of string }
	places := []place{{r.w.config.DataDir, "NETLAB_WORKER_DATA_DIR"}}
	if r.entry.Birth.Action.Changes() {
		places = append(places, place{r.scene.Dir, "the working directory"}, place{filepath.Dir(r.scene.statusFile()), "Netlab's status file"})
	}
	ctx, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	for _, p := range places {
		if full, err := looked(ctx, r.w.looks, p.dir, func() (bool, error) { return hasNoRoom(p.dir), nil }); err == nil && full {
			r.log.Error("a run has failed on a full disk: make room", "dir", p.dir)
			return fmt.Sprintf("; the disk of %s, %s, is full: make room there and submit the job again", p.of, p.dir)
		}
	}
	if waited {
		return fmt.Sprintf("; the disk of %s, %s, was full: submit the job again", places[0].of, places[0].dir)
	}
	return ""
}
