package forwarder

import (
	"context"
	"sync"
	"time"
)

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

// sharedDeadline gives out contexts that end within timeout, at the earliest after nine tenths of it. One context serves all that ask within
// a tenth, for a timer of its own would be a tenth of the cost of a publish.
type sharedDeadline struct {
	timeout time.Duration

	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	made   time.Time
}

func (s *sharedDeadline) context(now time.Time) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || now.Sub(s.made) >= s.timeout/10 {
		// Not cancelled when it is replaced, for others still publish under it: it ends by itself at its deadline.
		s.ctx, s.cancel = context.WithDeadline(context.Background(), now.Add(s.timeout))
		s.made = now
	}
	return s.ctx
}

// close ends the context that was given out last.
func (s *sharedDeadline) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

// detached has the end of one context and the values of another. Close of the Router cancels a message at once; a publish that has begun is
// let end.
type detached struct {
	context.Context
	values context.Context
}

// Value asks the context that ends first, so that a context made from this one finds it without a goroutine.
func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}
