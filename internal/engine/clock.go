package engine

import "time"

// Instant is a point in time by two clocks: the monotonic one, which a step of the wall clock does not move, and the wall clock, which goes
// on while the machine is suspended.
type Instant struct {
	monotonic, wall time.Time
}

// At returns the instant that two clocks show.
func At(monotonic, wall time.Time) Instant { return Instant{monotonic, wall} }

// Now reads the clocks of the system.
func Now() Instant {
	t := time.Now()
	return Instant{monotonic: t, wall: t.Round(0)}
}

// after returns the instant d after i.
func (i Instant) after(d time.Duration) Instant {
	return Instant{monotonic: i.monotonic.Add(d), wall: i.wall.Add(d)}
}

// left returns the time until i, negative when it has passed, which it has when either clock says so.
func (i Instant) left(now Instant) time.Duration {
	return min(i.monotonic.Sub(now.monotonic), i.wall.Sub(now.wall))
}
