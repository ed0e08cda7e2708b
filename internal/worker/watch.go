package worker

import (
	"time"

	"github.com/fsnotify/fsnotify"
)

// lookEvery is how often a file is looked at that cannot be watched.
const lookEvery = 200 * time.Millisecond

// fileWatch tells when a file may have changed: when any of its channels has a value.
type fileWatch struct {
	events <-chan fsnotify.Event
	// faults has the overflow of the kernel's queue: something has changed.
	faults <-chan error
	// look is used instead of the other two where the kernel has no more watches to give.
	look <-chan time.Time
	stop func()
}

func watch(file string) *fileWatch {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		if err = watcher.Add(file); err == nil {
			// The kernel takes 8 ms and more to close it, for which the end of a job need not wait.
			stop := func() { go func() { _ = watcher.Close() }() }
			return &fileWatch{events: watcher.Events, faults: watcher.Errors, stop: stop}
		}
		_ = watcher.Close()
	}
	ticker := time.NewTicker(lookEvery)
	return &fileWatch{look: ticker.C, stop: ticker.Stop}
}
