package account

import "fmt"

// UnknownError is a user that this machine does not have.
type UnknownError struct {
	// Name is the name that was looked up, empty where it was a number.
	Name string
	UID  int
}

func (e *UnknownError) Error() string {
	if e.Name == "" && e.UID != 0 {
		return fmt.Sprintf("there is no user with the number %d", e.UID)
	}
	return fmt.Sprintf("there is no user %q", e.Name)
}
