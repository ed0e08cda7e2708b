package settings

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

const mask = "***"

// Value is a setting as it was taken.
type Value struct {
	// Key names the setting as the YAML file does, such as "api.port".
	Key string
	// Text is the value, secrets masked.
	Text string
	// Source is where it came from.
	Source Source
}

// Attr is the value as an attribute of a log line; where it is not the default its source stands behind it.
func (v Value) Attr() slog.Attr {
	if v.Source == Default {
		return slog.String(v.Key, v.Text)
	}
	return slog.String(v.Key, fmt.Sprintf("%s (%s)", v.Text, v.Source))
}

// summary lists what the start-up line shows of p.
func (t *taking) summary(p program) []Value {
	var out []Value
	for _, s := range t.parser.settings {
		source := t.source(s.Variable)
		if w := p.without(); w != "" && s.Group == w {
			continue
		}
		if source == Default && !s.Important {
			continue
		}
		out = append(out, Value{
			Key:    keyOf(s.Variable),
			Text:   shown(s, t.parser.flags[s.Variable].Target),
			Source: source,
		})
	}
	return out
}

// shown is the text of a value without its secrets.
func shown(s Setting, v reflect.Value) string {
	urls, isList := v.Interface().([]string)
	switch {
	case s.Secret && isList:
		var masked []string
		for _, u := range urls {
			masked = append(masked, maskURL(u))
		}
		return strings.Join(masked, ",")
	case s.Secret && v.String() != "":
		return mask
	}
	return plain(v.Interface())
}

func plain(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return duration(v)
	case []string:
		return strings.Join(v, ",")
	case map[string]string:
		var list []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			list = append(list, k+"="+v[k])
		}
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v)
}

// duration is d as people write it: 4h, not 4h0m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
