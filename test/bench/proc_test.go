package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a process has used is what the kernel says that it has used.
func TestProcessorTime(t *testing.T) {
	t.Parallel()
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		_ = verbose(1 << 16)
	}
	before := ownTime(t)
	got, err := processorTime(os.Getpid())
	if after := ownTime(t); err != nil || got < before || got > after || got == 0 {
		t.Errorf("%v, %v; want between %v and %v", got, err, before, after)
	}
	if _, err := processorTime(1 << 22); err == nil {
		t.Error("a process that cannot be there has a time")
	}
}

func ownTime(t *testing.T) time.Duration {
	t.Helper()
	var own unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &own); err != nil {
		t.Fatal(err)
	}
	return time.Duration(own.Nano())
}
