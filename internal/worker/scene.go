package worker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/account"
	"netlab-runner/internal/durable"
	"netlab-runner/internal/inventory"
)

// scene is who a job runs as and where. It is kept in the journal: a later worker tidies up after the run by it.
type scene struct {
	Who account.Account `json:"who"`
	// Dir is the real path of the working directory.
	Dir string `json:"dir"`
	// StatusFile is Netlab's status file, empty for the one in the home.
	StatusFile string `json:"statusFile,omitempty"`
	// Remade says that the working directory was gone while its lab was there, and was made anew to take the lab down in.
	Remade bool `json:"remade,omitempty"`
	// Instance is the multilab id that was picked for the job, empty where none was.
	Instance string `json:"instance,omitempty"`
	// FreeID is the multilab id that the lab may take, if its topology turns out to want one; empty for none.
	FreeID string `json:"freeId,omitempty"`
}

const sceneFile = "scene.json"

func (e *entry) saveScene(s scene) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	file := filepath.Join(e.dir, sceneFile)
	// Not synced: what takes it from the disk, a power cut, takes the run as well, and who tidies up then does without, as after a run
	// that an earlier version of this program began.
	if fillEmpty(file, data) == nil {
		return nil
	}
	return durable.Replace(file, data)
}

// fillEmpty writes a file that is empty, or not there. Until it returns nobody needs what is in it, so a crash may leave it in part.
func fillEmpty(file string, data []byte) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && (info.Size() > 0 || !info.Mode().IsRegular()) {
		err = fs.ErrExist
	}
	if err == nil {
		_, err = f.Write(data)
	}
	return errors.Join(err, f.Close())
}

// loadScene returns the scene of an earlier start; ok is false where there was none, or none that can be read.
func (e *entry) loadScene(log *slog.Logger) (s scene, ok bool) {
	data, err := os.ReadFile(filepath.Join(e.dir, sceneFile))
	if err == nil {
		if err = json.Unmarshal(data, &s); err == nil && filepath.IsAbs(s.Dir) {
			return s, true
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		log.Warn("journal: whom the job ran as cannot be read", "job", e.Birth.ID, "error", err)
	}
	return scene{}, false
}

// statusFile is Netlab's status file of the job.
func (s *scene) statusFile() string { return cmp.Or(s.StatusFile, inventory.StatusFile(s.Who.Home)) }

// tidy gives the job's user what root has left in the working directory, and takes away a directory that was made for the job.
func (r *run) tidy() {
	who := &r.scene.Who
	if r.scene.Remade {
		// Only an empty one goes, and with the user's rights: what is there now is the user's doing.
		if err := who.Do(func() error { return unix.Rmdir(r.scene.Dir) }); err == nil || removeMade(who, r.scene.Dir) {
			return
		}
	}
	r.giveBack(who, r.scene.Dir)
}

// giveBackFirst gives the job's user what root has left in the working directory and in ~/.netlab before, by a command by hand,
// say: Netlab could not write over it.
func (r *run) giveBackFirst(who *account.Account, workdir string) {
	if !gives(who) {
		return
	}
	root, rel, err := r.w.within("workdir", workdir, false)
	if err != nil {
		return // what makes the directory ready says so
	}
	defer func() { _ = root.Close() }()
	r.giveBack(who, filepath.Join(root.Name(), rel))
	r.giveBack(who, realPath(filepath.Dir(inventory.StatusFile(who.Home))))
}

// gives says whether this process may have files of root's to give to the user.
func gives(who *account.Account) bool { return os.Geteuid() == 0 && who.UID != 0 }

func (r *run) giveBack(who *account.Account, dir string) {
	if !gives(who) {
		return
	}
	given, err := giveBack(who, dir)
	if err != nil {
		r.log.Warn("giving files back", "user", who.Name, "error", err)
	}
	if given > 0 {
		r.log.Info("files of root's given back", "user", who.Name, "files", given)
	}
}

// removeMade removes an empty directory of the user's that makeFirst has made in a directory where only root can.
func removeMade(who *account.Account, dir string) bool {
	above, err := openPlain(filepath.Dir(dir))
	if err != nil {
		return false
	}
	defer func() { _ = above.Close() }()
	var parent, made unix.Stat_t
	if unix.Fstat(int(above.Fd()), &parent) != nil || parent.Uid != 0 || parent.Mode&0o022 != 0 {
		return false
	}
	if unix.Fstatat(int(above.Fd()), filepath.Base(dir), &made, unix.AT_SYMLINK_NOFOLLOW) != nil || int(made.Uid) != who.UID {
		return false
	}
	return unix.Unlinkat(int(above.Fd()), filepath.Base(dir), unix.AT_REMOVEDIR) == nil
}

// giveBack gives the user what root owns below dir, if the directory is the user's: in one of somebody else's, root's files may
// be anybody's.
func giveBack(who *account.Account, dir string) (int, error) {
	place, err := openPlain(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = place.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &stat); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	if int(stat.Uid) != who.UID {
		return 0, nil
	}
	// The very directory that is open, wherever it is by now.
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	return who.GiveBack(root)
}

// openPlain opens a directory by a real path: a symlink, which its user may have put there since, is an error.
func openPlain(dir string) (*os.File, error) {
	at, name := unix.AT_FDCWD, "/"
	rest := strings.Trim(filepath.Clean(dir), "/")
	for {
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if at != unix.AT_FDCWD {
			_ = unix.Close(at)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", dir, name, err)
		}
		if rest == "" {
			return os.NewFile(uintptr(fd), dir), nil
		}
		at = fd
		name, rest, _ = strings.Cut(rest, "/")
	}
}
