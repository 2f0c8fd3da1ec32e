package admin

import (
	"context"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// DeadFilter selects dead letters. The zero value selects all; all fields that are set must match.
type DeadFilter struct {
	Seqs         []int64 // of the events
	Tenant       string
	Topic        string
	Target       string
	Destination  string
	Error        string    // part of the cause
	Since, Until time.Time // when it died; Until is excluded
}

// DeadLetter is a delivery that gave up.
type DeadLetter struct {
	Seq           int64     `json:"seq"` // of the event, with Target the identity of the delivery
	Target        string    `json:"target"`
	Destination   string    `json:"destination"` // the fallback's, when that gave up too
	Attempts      int       `json:"attempts"`
	Error         string    `json:"error"`
	HoldsKey      bool      `json:"holds_key"` // later events of its key wait for it
	FailedAt      time.Time `json:"failed_at"` // first
	DiedAt        time.Time `json:"died_at"`
	EventID       string    `json:"id"`
	TenantID      string    `json:"tenant_id"`
	Topic         string    `json:"topic"`
	AggregateType string    `json:"aggregate_type"`
	AggregateID   string    `json:"aggregate_id"`
	CreatedAt     time.Time `json:"created_at"` // of the event
	PayloadSize   int       `json:"payload_size"`
}

// Unrouted is the Target of the dead letter of an event that could not be routed at all. When it is replayed, the event is routed again.
const Unrouted = store.Unrouted // "(unrouted)"

// DeadLetters returns at most limit dead letters, ordered by the number of the event and the target, that come after the given one; nil begins at the
// first.
func (c *Client) DeadLetters(ctx context.Context, f DeadFilter, after *DeadLetter, limit int) ([]DeadLetter, error) {
	list, err := c.store.Dead(ctx, store.DeadFilter(f), (*store.DeadLetter)(after), limit)
	return convert(list, func(d store.DeadLetter) DeadLetter { return DeadLetter(d) }), err
}

// Replay makes dead letters due again, with all attempts of their retry policies, and returns their number, also when it failed on the way. Targets
// of the same events that were delivered are not sent to again. A dead letter that holds its key is the next delivery of that key; another stays
// outside the order.
func (c *Client) Replay(ctx context.Context, f DeadFilter) (int, error) {
	return c.store.Replay(ctx, store.DeadFilter(f))
}

// Discard ends dead letters without a delivery and returns their number, also when it failed on the way. Later events of a key that one of them held
// go on. Events of which nothing else is left become SKIPPED; the cause is kept.
func (c *Client) Discard(ctx context.Context, f DeadFilter) (int, error) {
	return c.store.Discard(ctx, store.DeadFilter(f))
}
