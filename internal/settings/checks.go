package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/alecthomas/kong"
)

// checks gathers the values that could not be read. The library stops at the first; people want to hear of all.
type checks struct {
	faults []Fault
}

func (c *checks) add(variable, text string) {
	c.faults = append(c.faults, Fault{Variable: variable, Text: text})
}

// has says whether the value of a setting could not be read.
func (c *checks) has(variable string) bool {
	return slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Variable == variable })
}

// checkedMapper reads a flag's value as the library would, and notes an error instead of ending with it.
type checkedMapper struct {
	kong.Mapper

	variable string
	checks   *checks
}

// IsBool tells the library that a switch needs no value.
func (c checkedMapper) IsBool() bool {
	b, ok := c.Mapper.(kong.BoolMapper)
	return ok && b.IsBool()
}

// Decode reads the next token into target and leaves target as it is where it cannot.
func (c checkedMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	token := ctx.Scan.Peek()
	if !c.IsBool() && !token.IsValue() {
		// The library would take the next flag for a value and stumble over what follows that.
		c.checks.add(c.variable, fmt.Sprintf("needs a value: write it as --%s=VALUE", ctx.Value.Name))
		return nil
	}
	// A copy, so that half a list is not kept.
	value := reflect.New(target.Type()).Elem()
	value.Set(target)
	err := c.Mapper.Decode(ctx, value)
	if err == nil {
		target.Set(value)
		return nil
	}
	c.checks.add(c.variable, unreadable(token, target, err))
	return nil
}

// unreadable says in this program's words what the library has to say about a value.
func unreadable(token kong.Token, target reflect.Value, err error) string {
	switch target.Interface().(type) {
	case bool:
		return fmt.Sprintf("%q is neither yes nor no: use true or false", token)
	case int:
		return fmt.Sprintf("%q is no whole number", token)
	case time.Duration:
		return fmt.Sprintf("%q is no duration: write it like 90s, 30m or 4h", token)
	case map[string]string:
		return fmt.Sprintf("%q is no list of key=value: write it like rack=a1,gpu=yes", token)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
