package jobs

import "fmt"

// Limits of the shape of a payload. The deepest that means anything is a list or a map within the object; the rest is room
// for fields of other services, which are passed over.
const (
	maxDepth  = 32
	maxValues = 100_000
)

// shapeProblem says what is wrong with how deep or how finely divided a JSON text is, "" for nothing. It looks at each byte
// once and holds nothing: to read such a text would cost a hundred times its size. A text that is not JSON passes.
func shapeProblem(body []byte) string {
	depth, values, quoted := 0, 1, false
	for i := 0; i < len(body); i++ {
		if quoted {
			switch body[i] {
			case '\\':
				i++
			case '"':
				quoted = false
			}
			continue
		}
		switch body[i] {
		case '"':
			quoted = true
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Sprintf("is nested more than %d levels deep (at byte %d): use fewer", maxDepth, i+1)
			}
		case '}', ']':
			depth--
		case ',':
			if values++; values > maxValues {
				return fmt.Sprintf("has more than %d values: use fewer", maxValues)
			}
		}
	}
	return ""
}
