// Package account knows the users of this machine: whose a path is, and how to touch files with a user's rights.
package account

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// Account is a user of this machine.
type Account struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	// GID is the user's own group.
	GID int `json:"gid"`
	// Groups are all the user's groups, GID among them.
	Groups []int  `json:"groups"`
	Home   string `json:"home"`
}

// Lookup returns the user of that name. *UnknownError: there is none.
func Lookup(name string) (*Account, error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return nil, &UnknownError{Name: name}
	}
	if err != nil {
		return nil, fmt.Errorf("looking up user %q: %w", name, err)
	}
	return of(u)
}

// ByID returns the user of that number. *UnknownError: there is none.
func ByID(uid int) (*Account, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	var unknown user.UnknownUserIdError
	if errors.As(err, &unknown) {
		return nil, &UnknownError{UID: uid}
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the user with the number %d: %w", uid, err)
	}
	return of(u)
}

// Self is the process's own account, with the rights that the process has and its home from HOME, as a Netlab started by hand
// would have it. A user that the machine does not know (in a container, say) is called by its number.
func Self() (*Account, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("asking for this process's groups: %w", err)
	}
	a := &Account{Name: strconv.Itoa(os.Geteuid()), UID: os.Geteuid(), GID: os.Getegid(), Groups: with(groups, os.Getegid())}
	u, err := user.LookupId(a.Name)
	var unknown user.UnknownUserIdError
	switch {
	case err == nil:
		a.Name, a.Home = u.Username, u.HomeDir
	case !errors.As(err, &unknown):
		return nil, fmt.Errorf("looking up this process's user, %s: %w", a.Name, err)
	}
	if home := os.Getenv("HOME"); home != "" {
		a.Home = home
	}
	return a, nil
}

func of(u *user.User) (*Account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("user %s has no number but %q", u.Username, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("user %s has no group but %q", u.Username, u.Gid)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of user %s: %w", u.Username, err)
	}
	var groups []int
	for _, id := range ids {
		group, err := strconv.Atoi(id)
		if err != nil {
			return nil, fmt.Errorf("user %s has a group without a number, %q", u.Username, id)
		}
		groups = append(groups, group)
	}
	return &Account{Name: u.Username, UID: uid, GID: gid, Groups: with(groups, gid), Home: u.HomeDir}, nil
}

// with returns the groups, sorted and each once, with gid among them.
func with(groups []int, gid int) []int {
	all := append(slices.Clone(groups), gid)
	slices.Sort(all)
	return slices.Compact(all)
}

// own says whether the account is the one that the process runs as.
func (a *Account) own() bool { return a.UID == os.Geteuid() }

// Credential is what a child process needs to run as the account, nil where it is the process's own.
func (a *Account) Credential() *syscall.Credential {
	if a.own() {
		return nil
	}
	groups := make([]uint32, 0, len(a.Groups))
	for _, group := range a.Groups {
		groups = append(groups, uint32(group))
	}
	return &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID), Groups: groups}
}
