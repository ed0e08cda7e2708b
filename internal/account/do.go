package account

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileCapabilities are those that the kernel takes from a thread whose file system user is no longer root: with one of them
// left, the user's rights would not be what counts.
const fileCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER |
	1<<unix.CAP_FSETID | 1<<unix.CAP_MKNOD

// Do calls f with the account's rights to files: what f opens, makes or changes is opened, made or changed by the account. Where
// the account is the process's own, or the process is not root and so has no other rights than its own, it just calls f.
//
// The rights are those of one thread, on which f runs: it must not start goroutines that touch files, nor programs, which would
// run as root. A panic of f's reaches the caller.
func (a *Account) Do(f func() error) error {
	if a.own() || os.Geteuid() != 0 {
		return f()
	}
	var (
		err      error
		returned bool
		panicked any
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if !returned {
				panicked = recover()
			}
		}()
		// Never unlocked: the thread, and its rights with it, ends with the goroutine.
		runtime.LockOSThread()
		if err = a.take(); err == nil {
			err = f()
		}
		returned = true
	}()
	<-done
	switch {
	case panicked != nil:
		panic(panicked)
	case !returned:
		return errors.New("what was to be done with a user's rights left its goroutine")
	default:
		return err
	}
}

// take gives this thread, and no other, the account's rights to files. The calls are raw because Go's own change every thread.
func (a *Account) take() error {
	groups := make([]uint32, 0, len(a.Groups)+1)
	for _, group := range with(a.Groups, a.GID) {
		groups = append(groups, uint32(group))
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 { //nolint:gosec // the kernel reads the groups through the pointer
		return fmt.Errorf("taking the groups of user %s: %w", a.Name, errno)
	}
	// Neither call says whether it worked: that is read back.
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(a.GID), 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(a.UID), 0, 0)
	return a.check(groups)
}

// check reads this thread's rights back.
func (a *Account) check(groups []uint32) error {
	const ask = ^uintptr(0) // no user's number: nothing is changed
	uid, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ask, 0, 0)
	gid, _, _ := unix.RawSyscall(unix.SYS_SETFSGID, ask, 0, 0)
	if int(uid) != a.UID || int(gid) != a.GID {
		return fmt.Errorf("the rights of user %s could not be taken: files would be touched as %d:%d", a.Name, uid, gid)
	}
	// One more than there should be, so that too many show.
	has := make([]uint32, len(groups)+1)
	n, _, errno := unix.RawSyscall(unix.SYS_GETGROUPS, uintptr(len(has)), uintptr(unsafe.Pointer(&has[0])), 0) //nolint:gosec // the kernel writes the groups through the pointer
	if errno != 0 {
		return fmt.Errorf("the groups of user %s could not be taken: %w", a.Name, errno)
	}
	has = has[:n]
	slices.Sort(has)
	if !slices.Equal(has, groups) {
		return fmt.Errorf("the groups of user %s could not be taken: the thread has %v", a.Name, has)
	}
	var (
		header = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data   [2]unix.CapUserData
	)
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 { //nolint:gosec // the kernel writes the capabilities through the pointers
		return fmt.Errorf("the rights of user %s could not be taken: %w", a.Name, errno)
	}
	if left := data[0].Effective & fileCapabilities; a.UID != 0 && left != 0 {
		return fmt.Errorf("the rights of user %s could not be taken: root's capabilities %#x are left", a.Name, left)
	}
	return nil
}
