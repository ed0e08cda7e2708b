package settings

// Format is a form that an answer is given in.
type Format string

// The forms there are.
const (
	JSON Format = "json"
	Text Format = "text"
)

func (f Format) valid() bool { return f == JSON || f == Text }
