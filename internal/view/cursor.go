package view

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// cursor remembers how far the logs stream was read, so that a restart does not read every log again. It may be behind
// what the files have, since what they have is skipped.
type cursor struct {
	file string

	mu    sync.Mutex
	state cursorState
	saved cursorState
}

type cursorState struct {
	// Made tells a stream from another one of the same name.
	Made time.Time `json:"made"`
	Seq  uint64    `json:"seq"`
}

// start returns the sequence to read from in a stream that was made then and ends at last.
func (c *cursor) start(made time.Time, last uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Seq == 0 {
		if data, err := os.ReadFile(c.file); err == nil {
			// An unreadable cursor costs time, not bytes.
			_ = json.Unmarshal(data, &c.state)
		}
	}
	if !c.state.Made.Equal(made) || c.state.Seq > last {
		c.state = cursorState{Made: made}
	}
	return c.state.Seq + 1
}

func (c *cursor) advance(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Seq = max(c.state.Seq, seq)
}

func (c *cursor) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == c.saved {
		return nil
	}
	data, err := json.Marshal(c.state)
	if err != nil {
		return err
	}
	temporary := c.file + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(temporary, c.file); err != nil {
		return err
	}
	c.saved = c.state
	return nil
}

const saveEvery = 5 * time.Second

func (v *View) saveCursor(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := v.cursor.save(); err != nil {
				v.log.Warn("view: cursor of the logs", "error", err)
			}
			return
		case <-tick.C:
			if err := v.cursor.save(); err != nil {
				v.log.Warn("view: cursor of the logs", "error", err)
			}
		}
	}
}
