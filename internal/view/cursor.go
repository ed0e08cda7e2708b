package view

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	"netlab-runner/internal/bus"
)

// cursor remembers how far the logs stream was read, so that a restart does not read every log again. It may be behind
// what the files have, since what they have is skipped; and ahead of it after a power cut, since they are not synced: see checkLogs.
type cursor struct {
	file string

	mu    sync.Mutex
	state bus.Mark
	saved bus.Mark
}

// load returns the place that was reached, in this process or before.
func (c *cursor) load() bus.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Seq == 0 {
		if data, err := os.ReadFile(c.file); err == nil {
			// An unreadable cursor costs time, not bytes.
			_ = json.Unmarshal(data, &c.state)
		}
	}
	return c.state
}

// reach takes in a place. It may be before the last one, in a stream that was lost and is read from its beginning.
func (c *cursor) reach(m bus.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = m
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
