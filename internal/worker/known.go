package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"netlab-runner/internal/durable"
)

// knownLab is what the worker remembers of a working directory in which it has started a lab.
type knownLab struct {
	Dir string `json:"dir"`
	// Job is the last job that started the lab.
	Job string `json:"job"`
	// UID is the user's whose lab it is.
	UID int `json:"uid"`
	// StatusFile is Netlab's status file of it, empty for the one in the user's home.
	StatusFile string `json:"statusFile,omitempty"`
	// Made is the time of the lab's snapshot when the job ended, the zero time until then. Another one is that of a lab which
	// somebody has made there since.
	Made time.Time `json:"made,omitzero"`
}

// knownLabs are the labs that jobs of this host have started and not yet taken down, a file each.
type knownLabs struct {
	dir string

	mu   sync.Mutex
	labs map[string]knownLab // by directory
}

func openKnownLabs(dir string, log *slog.Logger) (*knownLabs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("labs: %w", err)
	}
	k := &knownLabs{dir: dir, labs: map[string]knownLab{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("labs: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		var lab knownLab
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil {
			err = json.Unmarshal(data, &lab)
		}
		if err != nil || lab.Dir == "" {
			log.Warn("labs: a file cannot be read and is left alone", "file", f.Name(), "error", err)
			continue
		}
		k.labs[lab.Dir] = lab
	}
	return k, nil
}

func (k *knownLabs) file(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(k.dir, hex.EncodeToString(sum[:16])+".json")
}

// remember is on the disk when it returns.
func (k *knownLabs) remember(lab knownLab) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.save(lab)
}

// settle notes which lab the job has left in dir, by the time of its snapshot. Where it has left none, the job is forgotten.
func (k *knownLabs) settle(dir, job string, made time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	lab := k.labs[dir]
	if lab.Job != job {
		return nil
	}
	if made.IsZero() {
		lab.Job = ""
	}
	lab.Made = made.UTC()
	return k.save(lab)
}

// save is called with mu held.
func (k *knownLabs) save(lab knownLab) error {
	if k.labs[lab.Dir] == lab {
		return nil
	}
	data, err := json.Marshal(lab)
	if err != nil {
		return fmt.Errorf("labs: %w", err)
	}
	err = os.MkdirAll(k.dir, 0o700) // somebody may have removed it
	if err == nil {
		err = durable.Write(k.file(lab.Dir), data)
	}
	if err != nil {
		return fmt.Errorf("labs: %w", err)
	}
	k.labs[lab.Dir] = lab
	return nil
}

func (k *knownLabs) forget(dir string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.labs[dir]; !ok {
		return nil
	}
	delete(k.labs, dir)
	if err := os.Remove(k.file(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("labs: %w", err)
	}
	return nil
}

// unchanged are the directories of which nothing was noted since then.
func (k *knownLabs) unchanged(since time.Time) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var dirs []string
	for dir := range k.labs {
		if info, err := os.Stat(k.file(dir)); err == nil && info.ModTime().Before(since) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// job is the job that started the lab in dir whose snapshot is of that time, empty where none of this host's did.
func (k *knownLabs) job(dir string, made time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	lab := k.labs[dir]
	if !lab.Made.IsZero() && !lab.Made.Equal(made) {
		return ""
	}
	return lab.Job
}

// statusFile is the status file of the user's lab in dir, empty for the one in the home: a job that names no stateRoot is for the
// lab as it was started.
func (k *knownLabs) statusFile(dir string, uid int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if lab := k.labs[dir]; lab.UID == uid {
		return lab.StatusFile
	}
	return ""
}

// users are the numbers of the users who have labs.
func (k *knownLabs) users() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	var uids []int
	for _, lab := range k.labs {
		uids = append(uids, lab.UID)
	}
	return uids
}

// statusFiles are the status files other than those in the users' homes.
func (k *knownLabs) statusFiles() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var files []string
	for _, lab := range k.labs {
		if lab.StatusFile != "" {
			files = append(files, lab.StatusFile)
		}
	}
	return files
}

const (
	// labPatience is how long a lab is remembered whose directory is gone: its file system may be away for a while.
	labPatience = 30 * 24 * time.Hour
	// lookAtDir bounds the look for a directory.
	lookAtDir = 5 * time.Second
)

// forgetGoneLabs forgets the labs whose directories somebody has removed, without a job that took them down.
func (w *Worker) forgetGoneLabs(ctx context.Context, now time.Time) {
	for _, dir := range w.known.unchanged(now.Add(-labPatience)) {
		attempt, cancel := context.WithTimeout(ctx, lookAtDir)
		gone, err := looked(attempt, w.looks, dir, func() (bool, error) {
			_, err := os.Stat(dir)
			return errors.Is(err, fs.ErrNotExist), nil
		})
		cancel()
		if err == nil && gone {
			err = w.known.forget(dir)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("labs: it is not known whether a directory is still there", "dir", dir, "error", err)
		}
	}
}
