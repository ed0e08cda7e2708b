package worker

import (
	"errors"
	"fmt"
	"os"

	"netlab-runner/internal/account"
	"netlab-runner/internal/jobs"
)

// firstUser is the lowest number of an account of a person. Below are the system's own, as whose user a client could otherwise
// have its topology run by naming one, or a directory of theirs.
const firstUser = 1000

// nobody owns what a file server does not let this host know the owner of.
const nobody = 65534

// runAs is the account that every job of this host runs as: the setting's, or the worker's own where it is not root. nil:
// each job has its own.
func runAs(name string) (*account.Account, error) {
	if os.Geteuid() != 0 {
		self, err := account.Self()
		if err != nil {
			return nil, err
		}
		if name != "" && name != self.Name {
			return nil, fmt.Errorf("NETLAB_RUN_AS_USER: a worker that is not root runs every job as its own user, %s: leave the setting out, or run the worker as root", self.Name)
		}
		return self, nil
	}
	if name == "" {
		return nil, nil //nolint:nilnil // no one account
	}
	who, err := account.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("NETLAB_RUN_AS_USER: %w", err)
	}
	if who.UID == os.Geteuid() {
		return account.Self()
	}
	return who, nil
}

// accountOf is whom the job runs as: the one account of the host, else the user that the request names, else the owner of the
// working directory or of its nearest existing parent. An *invalidError is the request's fault.
func (w *Worker) accountOf(job *jobs.Job) (*account.Account, error) {
	who, err := w.accountFor(job.Request.User, job.Workdir)
	if err != nil || w.runAs != nil && w.runAs.Credential() == nil {
		return who, err
	}
	if err := who.CheckHome(); err != nil {
		if w.runAs != nil {
			// The host's fault, not the request's.
			return nil, fmt.Errorf("NETLAB_RUN_AS_USER: %w", err)
		}
		return nil, invalid("user", "%v", err)
	}
	return who, nil
}

// accountFor is accountOf without a look at the home, which only a run needs.
func (w *Worker) accountFor(name, workdir string) (*account.Account, error) {
	if w.runAs != nil {
		return w.runAs, nil
	}
	var who *account.Account
	var err error
	from := ""
	if name != "" {
		who, err = account.Lookup(name)
	} else {
		var uid int
		if uid, err = account.OwnerOf(realPath(workdir)); err != nil {
			return nil, invalid("workdir", "%v", err)
		}
		from = fmt.Sprintf(", who owns %s or the directory above it", workdir)
		who, err = account.ByID(uid)
	}
	var unknown *account.UnknownError
	switch {
	case errors.As(err, &unknown):
		return nil, invalid("user", "%v on host %s%s: name a user of that host", err, w.config.Host, from)
	case err != nil:
		return nil, err
	case who.UID < firstUser || who.UID == nobody:
		return nil, invalid("user", "%s%s is an account of the system, as which no job runs: name the user of the lab in user, or set NETLAB_RUN_AS_USER on the host", who.Name, from)
	}
	return who, nil
}
