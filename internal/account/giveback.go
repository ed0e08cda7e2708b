package account

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// deepest is how many directories below each other GiveBack goes: each one is held open.
const deepest = 200

// GiveBack makes the account the owner of what root owns below dir, and returns of how much. It follows no symlink, crosses no
// mount, and leaves alone what could be more than a file of the directory's: devices, pipes, sockets, and files with another
// name somewhere (a hard link). Where the kernel lets users link to files of others (fs.protected_hardlinks is 0) no file is
// given, and the error says so. A process that is not root gives nothing.
func (a *Account) GiveBack(dir *os.Root) (n int, err error) {
	if a.UID == 0 || os.Geteuid() != 0 {
		return 0, nil
	}
	top, err := dir.Open(".")
	if err != nil {
		return 0, fmt.Errorf("giving files back to %s: %w", a.Name, err)
	}
	g := &giver{to: a, linksGuarded: linksGuarded()}
	if g.top, err = look(top, ""); err == nil {
		err = g.giveBelow(top, ".", 0)
	} else {
		_ = top.Close()
	}
	if err == nil && g.unguarded > 0 {
		err = fmt.Errorf("%d files of root's are left as they are, because users may link to files of others on this machine: set the sysctl fs.protected_hardlinks to 1", g.unguarded)
	}
	if err != nil {
		err = fmt.Errorf("giving files back to %s in %s: %w", a.Name, dir.Name(), err)
	}
	return g.given, err
}

// giver is one GiveBack under way.
type giver struct {
	to    *Account
	top   unix.Statx_t
	given int
	// linksGuarded says that no user can link to a file of root's, take the link away the moment before its links are counted,
	// and be given a file that is not in the directory at all.
	linksGuarded bool
	// unguarded counts the files that were left for that reason.
	unguarded int
}

// linksGuarded says whether the kernel refuses links to what the user cannot write.
func linksGuarded() bool {
	setting, err := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	return err == nil && len(setting) > 0 && setting[0] != '0'
}

// givable says whether the file is one that is given.
func (g *giver) givable(stat *unix.Statx_t) bool {
	if stat.Uid != 0 {
		return false
	}
	switch uint32(stat.Mode) & unix.S_IFMT {
	case unix.S_IFDIR:
		return true
	case unix.S_IFREG, unix.S_IFLNK:
		if !g.linksGuarded {
			g.unguarded++
		}
		return g.linksGuarded && stat.Nlink == 1
	default:
		return false
	}
}

// look returns what is behind the name in dir, or dir itself without one. It follows no symlink.
func look(dir *os.File, name string) (stat unix.Statx_t, err error) {
	const flags = unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	err = unix.Statx(int(dir.Fd()), name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stat)
	return stat, err
}

// giveBelow gives what is in dir, which it closes.
func (g *giver) giveBelow(dir *os.File, name string, depth int) (err error) {
	defer dir.Close()
	if depth > deepest {
		return fmt.Errorf("%s: directories below each other, more than %d: the rest is left as it is", name, deepest)
	}
	for {
		names, end := dir.Readdirnames(1000)
		for _, entry := range names {
			if fault := g.give(dir, entry, path.Join(name, entry), depth); err == nil {
				err = fault // one tells what is wrong, the rest is given all the same
			}
		}
		if end != nil {
			if !errors.Is(end, io.EOF) && err == nil {
				err = end
			}
			return err
		}
	}
}

// give gives an entry of dir, and all below it.
func (g *giver) give(dir *os.File, entry, name string, depth int) error {
	// An open handle is one file, whatever its user puts in its place meanwhile.
	fd, err := unix.Openat(int(dir.Fd()), entry, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	stat, err := look(file, "")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !g.sameMount(&stat) {
		return nil
	}
	if g.givable(&stat) {
		if err := unix.Fchownat(fd, "", g.to.UID, g.to.GID, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		g.given++
	}
	if uint32(stat.Mode)&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	// "." of the very directory that was looked at.
	below, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return g.giveBelow(os.NewFile(uintptr(below), name), name, depth+1)
}

// sameMount says whether a file is in the file system, and the mount of it, in which the giver began.
func (g *giver) sameMount(stat *unix.Statx_t) bool {
	if stat.Dev_major != g.top.Dev_major || stat.Dev_minor != g.top.Dev_minor {
		return false
	}
	known := stat.Mask & g.top.Mask & unix.STATX_MNT_ID
	return known == 0 || stat.Mnt_id == g.top.Mnt_id
}
