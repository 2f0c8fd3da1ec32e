package forwarder

import (
	"context"
	"sync"
	"time"
)

// instant is a point in time by two clocks: the monotonic one, which a step of the wall clock does not move, and the wall clock, which goes
// on while the machine is suspended.
type instant struct {
	monotonic, wall time.Time
}

// systemNow reads the clocks of the system.
func systemNow() instant {
	t := time.Now()
	return instant{monotonic: t, wall: t.Round(0)}
}

// after returns the instant d after i.
func (i instant) after(d time.Duration) instant {
	return instant{monotonic: i.monotonic.Add(d), wall: i.wall.Add(d)}
}

// left returns the time until i, negative when it has passed, which it has when either clock says so.
func (i instant) left(now instant) time.Duration {
	return min(i.monotonic.Sub(now.monotonic), i.wall.Sub(now.wall))
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
