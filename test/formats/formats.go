// Package formats holds a package to what releases have written: samples of messages on the bus and of files on the disk, in
// testdata/formats/<release>/ of the package that reads them. "next" is what this tree writes, and will be the next release's.
// `make fixtures` writes it, `make fixtures RELEASE=<name>` a release's own, which then stays as it is.
package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Format is one kind of message or file.
type Format struct {
	// Name is that of its sample.
	Name string
	// Sample writes it as this tree does, with everything in it that it may have.
	Sample func(t *testing.T) []byte
	// Read reads a sample as this tree does, and returns what was read, written again.
	Read func(t *testing.T, sample []byte) []byte
	// Type is what the sample holds as JSON, the zero value. nil: it is no JSON, or not of one type.
	Type any
}

// next is the folder of what this tree writes.
const next = "next"

// Check reads the samples of every release, and fails where one is read as something else than it says, where nobody reads it, or
// where this tree writes what "next" does not have. With NETLAB_TEST_WRITE=<release> it writes that release's samples instead.
func Check(t *testing.T, list ...Format) {
	t.Helper()
	root := filepath.Join("testdata", "formats")
	if release := os.Getenv("NETLAB_TEST_WRITE"); release != "" {
		write(t, filepath.Join(root, release), list)
		return
	}
	for _, f := range list {
		t.Run(next+" "+f.Name, func(t *testing.T) {
			sample, err := os.ReadFile(filepath.Join(root, next, f.Name))
			if err != nil {
				t.Fatalf("this format has no sample: run make fixtures (%v)", err)
			}
			if lacking := lacks("", reflect.TypeOf(f.Type), sample); len(lacking) > 0 {
				t.Errorf("the sample lacks %s: add it to the test, and run make fixtures", strings.Join(lacking, ", "))
			}
		})
	}
	samples, err := filepath.Glob(filepath.Join(root, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range samples {
		t.Run(filepath.Base(filepath.Dir(path))+" "+filepath.Base(path)+" is read", func(t *testing.T) {
			i := slices.IndexFunc(list, func(f Format) bool { return f.Name == filepath.Base(path) })
			if i < 0 {
				t.Fatal("nobody reads it any more")
			}
			sample, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := list[i].Read(t, sample); !holds(got, sample) {
				t.Errorf("it says\n%s\nand is read as\n%s", sample, got)
			}
		})
	}
}

func write(t *testing.T, dir string, list []Format) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Sample(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// holds says whether got has all that the sample has: what a later release adds is no harm. What is no JSON has to be the same.
func holds(got, sample []byte) bool {
	var g, s any
	if json.Unmarshal(got, &g) != nil || json.Unmarshal(sample, &s) != nil {
		return bytes.Equal(got, sample)
	}
	return covers(g, s)
}

func covers(got, sample any) bool {
	switch s := sample.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for name, value := range s {
			ok = ok && (value == nil || covers(g[name], value))
		}
		return ok
	case []any:
		g, ok := got.([]any)
		ok = ok && len(g) == len(s)
		for i := 0; ok && i < len(s); i++ {
			ok = covers(g[i], s[i])
		}
		return ok
	case string:
		g, ok := got.(string)
		return ok && (g == s || sameTime(g, s))
	default:
		return reflect.DeepEqual(got, sample)
	}
}

// sameTime says whether both are the same time, which may be written in several ways.
func sameTime(a, b string) bool {
	x, errX := time.Parse(time.RFC3339Nano, a)
	y, errY := time.Parse(time.RFC3339Nano, b)
	return errX == nil && errY == nil && x.Equal(y)
}

// lacks are the members of the type that the sample does not have.
func lacks(at string, of reflect.Type, sample []byte) (list []string) {
	for of != nil && (of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice && of.Elem().Kind() != reflect.Uint8) {
		if of.Kind() == reflect.Slice {
			var elements []json.RawMessage
			if json.Unmarshal(sample, &elements) != nil || len(elements) == 0 {
				return []string{at}
			}
			sample = elements[0]
		}
		of = of.Elem()
	}
	if of == nil || of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(sample, &members); err != nil {
		return []string{at}
	}
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || field.Anonymous || len(field.Index) > 1 && of.Field(field.Index[0]).Tag.Get("json") != "" || name == "-" || name == "" {
			continue
		}
		value, has := members[name]
		if !has || string(value) == "null" {
			list = append(list, at+"."+name)
			continue
		}
		list = append(list, lacks(at+"."+name, field.Type, value)...)
	}
	return list
}
