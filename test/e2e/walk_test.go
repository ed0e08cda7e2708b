package e2e_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// shortWalk is how long a walk goes on unless NETLAB_TEST_WALK says otherwise. The round under way is walked to its end.
	shortWalk = 4 * time.Second
	// stepsOfRound is how many steps are taken before every lab has to be brought to a good end.
	stepsOfRound = 6
	// shrinkTime bounds the search for the fewest steps that fail.
	shrinkTime = 4 * time.Minute
)

// A walk takes random steps with several labs, and spoils them in between. Whatever state that brings a lab into, a destroy gets
// it out, and nothing of any job is left.
//
// NETLAB_TEST_WALK is the walk's duration, NETLAB_TEST_SEED its seed. NETLAB_TEST_STEPS replays one round: a file with steps
// as a failure prints them.
func TestWalk(t *testing.T) {
	t.Parallel()
	if file := os.Getenv("NETLAB_TEST_STEPS"); file != "" {
		replay(t, file)
		return
	}
	// The short walk is the same each time: what a new one finds is not for whoever has changed something else.
	duration, seed := shortWalk, uint64(1)
	var err error
	if s := os.Getenv("NETLAB_TEST_WALK"); s != "" {
		seed = uint64(time.Now().UnixNano())
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("NETLAB_TEST_WALK: %v", err)
		}
	}
	if s := os.Getenv("NETLAB_TEST_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("NETLAB_TEST_SEED: %v", err)
		}
	}
	t.Logf("NETLAB_TEST_WALK=%v NETLAB_TEST_SEED=%d", duration, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWalk(t)
	taken, begin := 0, time.Now()
	for round := 1; round == 1 || time.Since(begin) < duration; round++ {
		w.reset()
		var err error
		for len(w.taken) < stepsOfRound && err == nil && (round > 1 || time.Since(begin) < duration) {
			err = w.take(w.next(random))
		}
		if err == nil {
			err = w.end()
		}
		taken += len(w.taken)
		t.Logf("round %d: %d steps, %v", round, len(w.taken), err)
		if err != nil {
			steps, reason := shrink(t, w.taken, err)
			t.Fatalf("round %d of seed %d: %v\n%s\nshrunk, which says: %v\n%s\nwhat happened:\n%s",
				round, seed, err, show(w.taken), reason, show(steps), w.story.String())
		}
	}
	t.Logf("%d steps", taken)
}

// replay takes the steps of a file.
func replay(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for line := range strings.Lines(string(content)) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "{")
		if !ok {
			continue
		}
		var s step
		if err := json.Unmarshal([]byte("{"+line), &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		steps = append(steps, s)
	}
	w := newWalk(t)
	err = w.play(steps)
	t.Log(w.story.String())
	if err != nil {
		t.Fatal(err)
	}
}

// shrink leaves out steps as long as those that remain still fail. What depends on the moment may not fail again.
func shrink(t *testing.T, steps []step, reason error) ([]step, error) {
	t.Helper()
	begin := time.Now()
	steps = slices.Clone(steps)
	for i := len(steps) - 1; i >= 0 && time.Since(begin) < shrinkTime; i-- {
		fewer := slices.Delete(slices.Clone(steps), i, i+1)
		t.Run("shrink", func(t *testing.T) {
			if err := newWalk(t).play(fewer); err != nil {
				steps, reason = fewer, err
			}
		})
	}
	return steps, reason
}

// show writes steps as replay reads them.
func show(steps []step) string {
	var lines strings.Builder
	for _, s := range steps {
		line, err := json.Marshal(s)
		if err != nil {
			return err.Error()
		}
		lines.Write(append(line, '\n'))
	}
	return lines.String()
}
