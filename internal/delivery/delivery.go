// Package delivery carries the outcome of one delivery in a message's context, from the middleware that decides it to
// the forwarder that settles it.
//
// A middleware asks [FromContext]. When a delivery is there, the message runs under the forwarder, and the middleware
// records what it decided and acknowledges. When none is there, the message comes from some other subscriber, and the
// middleware does what a Watermill user expects of it.
package delivery

import (
	"context"
	"sync"
	"time"
)

// Kind is what became of a delivery.
type Kind int

// The kinds of outcome.
const (
	None    Kind = iota // nothing recorded
	Sent                // the destination acknowledged it
	Skipped             // nobody wants it; Reason says why
	Delayed             // to be tried again not before Until; no attempt is used
	Failed              // Err says why; one attempt is used
)

// Outcome is what a middleware or the forwarder's handler decided.
type Outcome struct {
	Kind   Kind
	Reason string    // of Skipped
	Until  time.Time // of Delayed
	Err    error     // of Failed
}

// Delivery collects the outcome of one delivery. It is safe for concurrent use.
type Delivery struct {
	attempt int
	created time.Time
	base    context.Context // nil when it is not known
	acks    bool

	mu      sync.Mutex
	outcome Outcome
}

// New returns a delivery whose next try is number attempt (the first is 1), of an event stored at created.
func New(attempt int, created time.Time) *Delivery {
	return &Delivery{attempt: attempt, created: created}
}

// Under says what ends the delivery, and returns d. Base is the context of the subscription. EndsWithAck tells that an ack ends the delivery as delivered
// at once, whatever is recorded afterwards; otherwise what the handler does decides.
func (d *Delivery) Under(base context.Context, endsWithAck bool) *Delivery {
	d.base, d.acks = base, endsWithAck
	return d
}

// Stopping reports whether the subscription ends, so that the delivery comes again. Known is false when the delivery cannot tell.
func (d *Delivery) Stopping() (stopping, known bool) {
	if d.base == nil {
		return false, false
	}
	return d.base.Err() != nil, true
}

// EndsWithAck reports whether an ack ends the delivery.
func (d *Delivery) EndsWithAck() bool { return d.acks }

// Attempt returns the number of this try; the first is 1.
func (d *Delivery) Attempt() int { return d.attempt }

// Created returns when the event was stored.
func (d *Delivery) Created() time.Time { return d.created }

// Record sets the outcome. The last one recorded wins: the outermost middleware has the last word.
func (d *Delivery) Record(o Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcome = o
}

// Outcome returns what was recorded last, or the zero Outcome.
func (d *Delivery) Outcome() Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outcome
}

// ContextKey is the key of a *Delivery in a context.
type ContextKey struct{}

// NewContext returns a context that carries d.
func NewContext(ctx context.Context, d *Delivery) context.Context {
	return context.WithValue(ctx, ContextKey{}, d)
}

// FromContext returns the delivery that ctx carries, or nil when there is none.
func FromContext(ctx context.Context) *Delivery {
	d, _ := ctx.Value(ContextKey{}).(*Delivery)
	return d
}
