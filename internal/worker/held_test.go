package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/bus"
	"netlab-runner/internal/hosts"
)

// The worker listens before it announces its host, so that whoever sees the host online is answered; and it answers nothing
// while another has the host's name.
func TestQuestionsBeforeTheLease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := b.bus.AcquireLease(t.Context(), &hosts.Host{Name: "a", Identity: "another"})
	must(t, err)
	b.run()
	ask := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := b.bus.Ask(ctx, "a", "labs", struct{}{})
		return err
	}
	for end := time.Now().Add(limit); ; {
		err := ask(time.Second)
		if !errors.Is(err, bus.ErrHostAway) || time.Now().After(end) {
			t.Fatalf("while another has the name: %v, want no answer", err)
		}
		if strings.Contains(err.Error(), "in time") {
			break // it listens
		}
	}
	must(t, other.Release(t.Context()))
	must(t, ask(limit))
}
