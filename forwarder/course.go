package forwarder

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// course is where the message of a unit is among the middlewares of an application and the forwarder's handler. What the handler did decides what
// becomes of the unit, whenever the message is acked: InstantAck acks before it calls the handler, and the Router acks after a middleware returned
// nil without calling it. So a unit that was acked waits for the handler as long as that may still be called.
type course struct {
	mu      sync.Mutex
	inside  bool // the message is with a middleware that was added after AddTo, or with the handler
	left    bool // it was, and they returned no error
	failed  bool // it was, and they returned one
	begun   bool // the handler was called
	handled bool // the handler has returned
	refused bool // the handler must not begin
	taken   bool // the unit ended without the handler, because of an ack
	changed chan struct{}
}

// takenAfter is how long the handler may take to be called after a middleware that was added before AddTo acked the message.
const takenAfter = 500 * time.Millisecond

func (c *course) change(apply func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	apply()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// begin reports whether the handler may begin, and whether that is late, for the event has been taken as skipped.
func (c *course) begin() (ok, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun || c.refused {
		return false, false
	}
	c.begun = true
	return true, c.taken
}

// refuse keeps the handler from beginning. It returns false when the handler has begun.
func (c *course) refuse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = !c.begun
	return c.refused
}

// take ends the unit without the handler. It returns false when the handler has begun.
func (c *course) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = !c.begun
	return c.taken
}

func (c *course) hasFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

type whereabouts int

const (
	outside   whereabouts = iota // with a middleware that was added before AddTo, or with none any more
	within                       // with a middleware that was added after AddTo, or with the handler
	passed                       // it has left them and was not handled
	throughIt                    // it was handled
)

// where returns where the message is, and a channel that is closed when that has changed.
func (c *course) where() (whereabouts, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.handled:
		return throughIt, nil
	case c.begun || c.inside:
	case c.left:
		return passed, nil
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	if c.begun || c.inside {
		return within, c.changed
	}
	return outside, c.changed
}

// watchInside is the middleware that AddTo adds, to see messages come and go.
func watchInside(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		w := workFrom(msg.Context())
		if w == nil {
			return next(msg)
		}
		c, returned := w.course, false
		c.change(func() { c.inside, c.left, c.failed = true, false, false })
		defer c.change(func() {
			c.inside, c.left = false, returned && err == nil
			c.failed = !c.left
		})
		produced, err = next(msg)
		returned = true
		return produced, err
	}
}

// await waits until it is settled what becomes of w, which a Router of the application got as msg, and records it.
func (f *Forwarder) await(w *work, msg *message.Message) {
	stopping := w.ctx.Done()
	for {
		select {
		case <-msg.Acked():
			if acked, ok := w.awaitHandler(); ok {
				f.finish(w, acked)
			}
			return
		case <-msg.Nacked():
			if !w.course.refuse() {
				if _, ok := w.awaitHandler(); !ok {
					return
				}
			}
			if w.ctx.Err() != nil && !w.decided() && w.outcome.Outcome().Kind == delivery.None {
				w.abandon() // the handler was told to end: that is no failure
				return
			}
			f.finish(w, false)
			return
		case <-stopping:
			if w.course.refuse() {
				w.abandon()
				return
			}
			stopping = nil // what has begun is let end
		case <-w.permit.Aborted():
			w.abandon()
			return
		}
	}
}

// awaitHandler waits, after an ack or a nack, until the handler has returned or will not be called. Acked is false when the
// handler was called, and when middlewares failed after one of them had acked. Ok is false when the unit was given back instead.
func (w *work) awaitHandler() (acked, ok bool) {
	c := w.course
	var grace <-chan time.Time
	expired := false
	stopping := w.ctx.Done()
	for {
		at, changed := c.where()
		recorded := w.outcome.Outcome().Kind != delivery.None
		var end func() bool
		switch {
		case at == throughIt:
			return false, true // what it did is recorded; of a handler that panicked nothing is
		case at == within:
		case recorded, expired && c.hasFailed():
			end = c.refuse
		case at == passed, expired:
			end = c.take
		case grace == nil:
			t := time.NewTimer(takenAfter)
			defer t.Stop()
			grace = t.C
		}
		if end != nil {
			if end() {
				return !c.hasFailed(), true
			}
			continue // the handler has begun just now
		}
		select {
		case <-changed:
		case <-grace:
			expired = true
		case <-stopping:
			if c.refuse() {
				w.abandon()
				return false, false
			}
			stopping = nil
		case <-w.permit.Aborted():
			w.abandon()
			return false, false
		}
	}
}
