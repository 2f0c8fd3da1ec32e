package forwarder

import "time"

// deadline is a point in time by two clocks: the monotonic one, which a step of the wall clock does not move, and the wall clock, which
// goes on while the machine is suspended. It has passed when either says so.
type deadline struct {
	monotonic, wall time.Time
}

// deadlineAfter returns the deadline d after start, which must carry a monotonic reading.
func deadlineAfter(start time.Time, d time.Duration) deadline {
	t := start.Add(d)
	return deadline{monotonic: t, wall: t.Round(0)}
}

// left returns the time until the deadline, negative when it has passed.
func (d deadline) left(now time.Time) time.Duration {
	return min(d.monotonic.Sub(now), d.wall.Sub(now.Round(0)))
}
