package logfile

import (
	"errors"
	"fmt"
)

// What the methods of a Log that has no file any more return, wrapped.
var (
	// ErrInvalidID is an id that jobs.ValidID refuses.
	ErrInvalidID = errors.New("not the id of a job")
	// ErrRemoved is a log that Store.Remove has deleted.
	ErrRemoved = errors.New("removed")
	// ErrDiffers is an Append of other bytes than the log has at that place: its file is that of another job of the same id.
	ErrDiffers = errors.New("the file has other bytes")
	// ErrClosed is a log of a store that is closed.
	ErrClosed = errors.New("the store of logs is closed")
)

// Gap is an Append behind the end of the log: bytes between are missing. The log is unchanged.
type Gap struct {
	Have   int64 // the size of the log
	Offset int64 // where the refused bytes begin
}

func (e *Gap) Error() string {
	return fmt.Sprintf("the log has %d bytes, the next come at offset %d", e.Have, e.Offset)
}
