package worker

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"netlab-runner/internal/account"
)

// homes are the accounts whose Netlab may have labs on this host: people's and root's, as far as the settings say, the worker's
// own, and of those that no file of the machine lists (a directory service has them) the ones that had jobs here.
func (w *Worker) homes() []account.Account {
	var all []account.Account
	add := func(a *account.Account, err error) {
		if err == nil && a.Home != "" && a.Home != "/" && !slices.ContainsFunc(all, func(b account.Account) bool { return a.UID == b.UID && a.Home == b.Home }) {
			all = append(all, *a)
		}
	}
	add(account.Self())
	if w.runAs != nil {
		add(w.runAs, nil)
	}
	for _, uid := range localUsers() {
		if a, err := account.ByID(uid); err == nil && w.looksInto(a.Home) {
			add(a, nil)
		}
	}
	for _, uid := range w.known.users() {
		add(account.ByID(uid))
	}
	return all
}

// looksInto says whether the settings let the home of a user be looked into who has had no job here.
func (w *Worker) looksInto(home string) bool {
	return len(w.config.Homes) == 0 || slices.ContainsFunc(w.config.Homes, func(dir string) bool {
		rel, err := filepath.Rel(dir, home)
		return err == nil && filepath.IsLocal(rel)
	})
}

// localUsers are the numbers of root and of the people in the machine's own list.
func localUsers() []int {
	file, err := os.Open("/etc/passwd")
	if err != nil {
		return nil
	}
	defer file.Close()
	var uids []int
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 7 {
			continue
		}
		if uid, err := strconv.Atoi(fields[2]); err == nil && (uid == 0 || uid >= firstUser) && uid != nobody {
			uids = append(uids, uid)
		}
	}
	return uids
}
