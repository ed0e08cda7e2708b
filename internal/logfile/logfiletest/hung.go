// Package logfiletest makes disks that hang, for tests.
package logfiletest

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for what takes milliseconds.
const patience = 20 * time.Second

// Hung is a file that hangs whoever opens it, as a disk does, until it is let go.
type Hung struct {
	t    testing.TB
	file *os.File
}

// Hang makes the file where it is missing, and hangs it by a lease, which the kernel lets nobody pass for 45 s by default.
func Hang(t testing.TB, path string) *Hung {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := &Hung{t, f}
	t.Cleanup(h.LetGo)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	return h
}

// AwaitOpen returns when somebody opens it, and hangs.
func (h *Hung) AwaitOpen() {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if lease, err := unix.FcntlInt(h.file.Fd(), unix.F_GETLEASE, 0); err != nil || lease != unix.F_WRLCK {
			return
		}
	}
	h.t.Fatal("nobody opens it")
}

// LetGo lets them go on. A second time it does nothing.
func (h *Hung) LetGo() { _ = h.file.Close() }
