package engine

import (
	"context"
	"sync"
	"time"
)

// sharedDeadline gives out contexts that end within timeout, at the earliest after nine tenths of it. One context serves all that ask within
// a tenth, for a timer of its own would be a tenth of the cost of a publish.
type sharedDeadline struct {
	timeout time.Duration
	values  context.Context // of those that bring none of their own

	mu     sync.Mutex
	ctx    context.Context
	valued context.Context // ctx with values
	cancel context.CancelFunc
	made   time.Time
}

// context returns a context with the given values.
func (s *sharedDeadline) context(now time.Time, values context.Context) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || now.Sub(s.made) >= s.timeout/10 {
		// Not cancelled when it is replaced, for others still publish under it: it ends by itself at its deadline.
		s.ctx, s.cancel = context.WithDeadline(context.Background(), now.Add(s.timeout))
		s.valued = detached{s.ctx, s.values}
		s.made = now
	}
	if values == s.values {
		return s.valued
	}
	return detached{s.ctx, values}
}

// close ends the context that was given out last.
func (s *sharedDeadline) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

// detached has the end of one context and the values of another. The end of the engine cancels a message at once; a publish that has begun is
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
