package worker

import (
	"log/slog"
	"testing"

	"netlab-runner/internal/account"
)

// The settings say whose homes are looked into. The worker's own always is.
func TestHomesThatAreLookedInto(t *testing.T) {
	t.Parallel()
	known, err := openKnownLabs(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := &Worker{config: Config{Homes: []string{"/nowhere/at/all"}}, known: known}
	self, err := account.Self()
	if err != nil {
		t.Fatal(err)
	}
	if all := w.homes(); len(all) != 1 || all[0].Home != self.Home {
		t.Errorf("%+v", all)
	}
	for home, want := range map[string]bool{"/labs/homes/ann": true, "/labs/homes": true, "/labs/homesick": false, "/labs": false, "/root": false} {
		w.config.Homes = []string{"/other", "/labs/homes"}
		if w.looksInto(home) != want {
			t.Errorf("%s: %v", home, !want)
		}
		w.config.Homes = nil
		if !w.looksInto(home) {
			t.Errorf("%s: not looked into, where every home is", home)
		}
	}
}
