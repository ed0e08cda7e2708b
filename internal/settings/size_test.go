package settings

import (
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "17": 17, "17B": 17, "1KiB": 1 << 10, "512MiB": 512 << 20, "4 GiB": 4 << 30, "4gib": 4 << 30, "2TiB": 2 << 40,
		"9223372036854775807": 1<<63 - 1,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v, want %d", text, int64(s), err, int64(want))
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q came back from %q as %v, %v", text, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "B", "MiB", "-1", "1.5GiB", "1MB", "1M", "0x10", "1 2", "8388608TiB", "9223372036854775808"} {
		s := Size(7)
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 7 {
			t.Errorf("%q is taken for %v", text, s)
		}
	}
}

func TestSync(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Sync{
		"always": {Always: true}, "Always": {Always: true}, "2m": {Interval: 2 * time.Minute}, "1500ms": {Interval: 1500 * time.Millisecond},
	} {
		var s, again Sync
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %+v, %v, want %+v", text, s, err, want)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q came back from %q as %+v, %v", text, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "never", "0", "0s", "-1s", "5"} {
		var s Sync
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, s)
		}
	}
}
