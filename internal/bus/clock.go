package bus

import "time"

// clock is what the clock of the server showed that stores the jobs, and when that was by our own.
type clock struct{ shows, at time.Time }

// Now is the time by the clock that says when a job has ended, whatever that of this machine shows; the zero time where it is not known yet.
func (b *Bus) Now() time.Time {
	c := b.clock.Load()
	if c == nil {
		return time.Time{}
	}
	return c.shows.Add(time.Since(c.at)) // what has passed, also where our clock was set
}
