package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// fields reads the members of a payload and collects what is wrong with them. A member that is null or an empty string is
// absent.
type fields struct {
	members  map[string]json.RawMessage
	order    []string // names as they come
	faults   []Fault
	unnamed  map[string]int // faults of a field beyond maxFaults
	warnings []string
	asked    []string // names of the fields, in the order of Request
}

// parseFields returns the members of a JSON object; a fault of the whole body is an error.
func parseFields(body []byte) (*fields, error) {
	broken := func(format string, args ...any) (*fields, error) {
		return nil, &Invalid{Faults: []Fault{{Field: "body", Text: fmt.Sprintf(format, args...)}}}
	}
	// Windows writes files of UTF-8 so.
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if problem := shapeProblem(body); problem != "" {
		return broken("%s", problem)
	}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return broken("is empty: send a JSON object")
	case !utf8.Valid(body):
		return broken("is not valid UTF-8: send JSON in UTF-8")
	case bytes.IndexByte(body, 0) >= 0:
		return broken("holds a NUL byte: send a JSON object")
	case !json.Valid(body):
		err := json.Unmarshal(body, new(json.RawMessage))
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return broken("is not JSON: %v (at byte %d)", err, syntax.Offset)
		}
		return broken("is not JSON: %v", err)
	case kind(body) != "an object":
		return broken("must be a JSON object, is %s", kind(body))
	}
	members := objectMembers(body)
	f := newFields(len(members))
	for _, m := range members {
		if _, ok := f.members[m.name]; ok {
			f.fault("body", "has the field %s twice: send it once", shown(m.name))
			continue
		}
		f.members[m.name] = m.value
		f.order = append(f.order, m.name)
	}
	return f, nil
}

// newFields returns those of a payload with so many members.
func newFields(members int) *fields {
	return &fields{
		members: make(map[string]json.RawMessage, members), order: make([]string, 0, members),
		unnamed: make(map[string]int), asked: make([]string, 0, maxFields),
	}
}

// maxFields is room for the names of all fields of a payload.
const maxFields = 32

type member struct {
	name  string
	value json.RawMessage
}

// objectMembers lists the members of a valid JSON object as they come, those of the same name too.
func objectMembers(object json.RawMessage) []member {
	var members []member
	depth, start, colon, quoted := 0, 0, 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case depth == 1 && c == ':':
			colon = i
		case depth == 1 && (c == ',' || c == '}'):
			if colon > start { // not in {}
				members = append(members, member{
					unquote(bytes.TrimSpace(object[start:colon])), json.RawMessage(bytes.TrimSpace(object[colon+1 : i])),
				})
			}
			start = i + 1
		case c == '{' || c == '[':
			if depth++; depth == 1 {
				start = i + 1
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return members
}

// kind names the JSON type of a valid value.
func kind(raw json.RawMessage) string {
	switch bytes.TrimSpace(raw)[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

func unquote(raw json.RawMessage) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]) // of a body of valid UTF-8
	}
	var s string
	_ = json.Unmarshal(raw, &s) // a string, as its kind says
	return s
}

// shown quotes what a client sent, short enough for an error text.
func shown(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

// maxFaults bounds the faults named of one field, so that an answer is no larger than what it answers.
const maxFaults = 20

func (f *fields) fault(field, format string, args ...any) {
	n := 0
	for _, fault := range f.faults {
		if fault.Field == field {
			n++
		}
	}
	if n == maxFaults {
		f.unnamed[field]++
		return
	}
	f.faults = append(f.faults, Fault{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (f *fields) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

// get returns the value of the field and its kind, "" where it is absent.
func (f *fields) get(field string) (raw json.RawMessage, of string) {
	f.asked = append(f.asked, field)
	raw, ok := f.members[field]
	if !ok {
		return nil, ""
	}
	of = kind(raw)
	if of == "null" || of == "a string" && strings.TrimSpace(unquote(raw)) == "" {
		return nil, ""
	}
	return raw, of
}

// given says whether the field is there, with whatever value.
func (f *fields) given(field string) bool {
	raw, ok := f.members[field]
	if !ok {
		return false
	}
	of := kind(raw)
	return of != "null" && (of != "a string" || strings.TrimSpace(unquote(raw)) != "")
}

// text returns a string as it is.
func (f *fields) text(field string) string {
	raw, of := f.get(field)
	switch of {
	case "":
		return ""
	case "a string":
		return unquote(raw)
	default:
		f.fault(field, "must be a string, is %s", of)
		return ""
	}
}

// word returns a string without the space around it.
func (f *fields) word(field string) string { return strings.TrimSpace(f.text(field)) }

// token returns a word that may come as a number too.
func (f *fields) token(field string) string {
	raw, of := f.get(field)
	switch of {
	case "":
		return ""
	case "a string":
		return strings.TrimSpace(unquote(raw))
	case "a number":
		return numeral(raw)
	default:
		f.fault(field, "must be a number or a string, is %s", of)
		return ""
	}
}

// zeroFraction is what some clients write behind a whole number: JSON does not tell 5.0 from 5.
var zeroFraction = regexp.MustCompile(`^(-?[0-9]+)\.0+$`)

// numeral is a JSON number as text, a whole one without a fraction.
func numeral(raw json.RawMessage) string { return zeroFraction.ReplaceAllString(string(raw), "$1") }

// flag returns a boolean that may come as a string or a number too.
func (f *fields) flag(field string) bool {
	raw, of := f.get(field)
	value := numeral(raw)
	switch of {
	case "":
		return false
	case "a string":
		value = strings.ToLower(strings.TrimSpace(unquote(raw)))
	}
	switch value {
	case "true", "1":
		return true
	case "false", "0":
		return false
	default:
		f.fault(field, "must be true or false")
		return false
	}
}

// list returns the words of a list; a single one may come without a list around it.
func (f *fields) list(field string) []string {
	raw, of := f.get(field)
	var words []string
	switch of {
	case "":
	case "a string":
		words = []string{unquote(raw)}
	case "a list":
		words = f.items(field, raw)
	default:
		f.fault(field, "must be a string or a list of strings, is %s", of)
	}
	for i, s := range words {
		words[i] = strings.TrimSpace(s)
	}
	return slices.DeleteFunc(words, func(s string) bool { return s == "" })
}

// items returns the strings of a JSON list, "" for what is null or a fault.
func (f *fields) items(field string, list json.RawMessage) []string {
	var raws []json.RawMessage
	_ = json.Unmarshal(list, &raws) // a list, as its kind says
	items := make([]string, len(raws))
	for i, raw := range raws {
		switch of := kind(raw); of {
		case "null":
		case "a string":
			items[i] = unquote(raw)
		default:
			f.fault(field, "item %d must be a string, is %s", i+1, of)
		}
	}
	return items
}

type pair struct{ key, value string }

// pairs returns what comes as a map, or as a list of KEY=value, each key once. No fault shows a value: it may be secret.
func (f *fields) pairs(field string) []pair {
	raw, of := f.get(field)
	var all []pair
	switch of {
	case "":
	case "an object":
		for _, m := range objectMembers(raw) {
			switch of := kind(m.value); of {
			case "null":
			case "a string":
				all = append(all, pair{m.name, unquote(m.value)})
			case "a number", "a boolean":
				all = append(all, pair{m.name, string(m.value)})
			default:
				f.fault(field, "the value of %s must be a string, is %s", shown(m.name), of)
			}
		}
	case "a list":
		for i, item := range f.items(field, raw) {
			key, value, ok := strings.Cut(item, "=")
			switch {
			case ok:
				all = append(all, pair{key, value})
			case item != "":
				f.fault(field, "item %d has no '=': write KEY=value", i+1)
			}
		}
	default:
		f.fault(field, "must be a map or a list of KEY=value, is %s", of)
	}

	var pairs []pair
	seen := make(map[string]string)
	for _, p := range all {
		value, ok := seen[p.key]
		switch {
		case !ok:
			seen[p.key] = p.value
			pairs = append(pairs, p)
		case value != p.value:
			f.fault(field, "%s is given twice, with different values: give it once", shown(p.key))
		}
	}
	return pairs
}

// warnUnknown warns of the members that nobody asked for.
func (f *fields) warnUnknown() {
	const most = 20
	unknown := slices.DeleteFunc(slices.Clone(f.order), func(name string) bool { return slices.Contains(f.asked, name) })
	for i, name := range unknown {
		if i == most {
			f.warn("%d more unknown fields are ignored", len(unknown)-most)
			return
		}
		meant := ""
		for _, known := range f.asked {
			if strings.EqualFold(known, name) {
				meant = fmt.Sprintf(": the field is %q", known)
			}
		}
		f.warn("unknown field %s is ignored%s", shown(name), meant)
	}
}

// err returns an *Invalid with the faults in the order in which the fields were asked for, or nil.
func (f *fields) err() error {
	if len(f.faults) == 0 {
		return nil
	}
	for field, n := range f.unnamed {
		f.faults = append(f.faults, Fault{Field: field, Text: fmt.Sprintf("has %d more faults of such kinds", n)})
	}
	place := func(fault Fault) int {
		if i := slices.Index(f.asked, fault.Field); i >= 0 {
			return i
		}
		return -1 // the body
	}
	slices.SortStableFunc(f.faults, func(a, b Fault) int { return place(a) - place(b) })
	return &Invalid{Faults: f.faults}
}
