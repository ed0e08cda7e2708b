package view

import (
	"fmt"
	"strconv"
	"strings"
)

// EventID is a place in what happens to the jobs: who has it knows everything up to there.
type EventID struct {
	// Seq is a sequence of the jobs stream. Events come in its order, on every API the same.
	Seq uint64
	// Made is when that stream was made, in nanoseconds since 1970: one that was lost has another's sequences. 0 is not known.
	Made int64
}

// String is the id as clients have it.
func (id EventID) String() string {
	if id.Made == 0 {
		return strconv.FormatUint(id.Seq, 10)
	}
	return fmt.Sprintf("%d-%x", id.Seq, id.Made)
}

// ParseEventID reads what String makes. ok is false of anything else.
func ParseEventID(text string) (id EventID, ok bool) {
	seq, made, _ := strings.Cut(text, "-")
	id.Seq, _ = strconv.ParseUint(seq, 10, 64)
	id.Made, _ = strconv.ParseInt(made, 16, 64)
	return id, id.Made >= 0 && id.String() == text
}
