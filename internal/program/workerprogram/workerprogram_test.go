package workerprogram

import (
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"netlab-runner/internal/settings"
)

func TestEverySettingReachesTheWorker(t *testing.T) {
	t.Parallel()
	s := settings.Worker{
		Host: "a", DataDir: "/data", Roots: []string{"/labs"}, Templates: "/templates", Python: "python3", Path: []string{"/bin"},
		RunAs: "lab", URLNetworks: []string{"10.0.0.0/8"}, Homes: []string{"/home"}, Slots: 1, Timeout: time.Second, LogLimit: 1,
		LogPatience: time.Second, Warm: time.Second, Labels: map[string]string{"site": "east"},
	}
	for field, value := range reflect.ValueOf(s).Fields() {
		if value.IsZero() {
			t.Errorf("%s is not in this test", field.Name)
		}
	}
	noSettings := []string{"Quiet", "Start", "GraphProgram"}
	for field, value := range reflect.ValueOf(workerConfig(&s, "1.0", slog.New(slog.DiscardHandler))).Fields() {
		if value.IsZero() && !slices.Contains(noSettings, field.Name) {
			t.Errorf("no setting becomes the worker's %s", field.Name)
		}
	}
}
