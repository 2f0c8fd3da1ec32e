package monitor

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// mark is what rates are counted from.
type mark struct {
	at      time.Time
	last    int64
	head    float64
	pending int64 // -1 where there were too many to count
}

// rates compares with the snapshot before, and makes this one what the next compares with.
func (m *Monitor) rates(at time.Time, b store.Backlog) *Rates {
	before, now := m.mark, mark{at: at, last: b.Last, head: b.Head, pending: b.State(store.Pending).Count}
	if b.Span[store.Pending] > 0 {
		now.pending = -1
	}
	const least = 50 * time.Millisecond // less says more about chance than about the rate
	over := at.Sub(before.at)
	if !before.at.IsZero() && over < least {
		return m.recent.Rates
	}
	m.mark = now
	if before.at.IsZero() || now.last < before.last { // a new database
		return nil
	}
	in := float64(now.last - before.last)
	// With too many pending to count them, the progress of the first pending number of each slot has to do.
	out := now.head - before.head
	if before.pending >= 0 && now.pending >= 0 {
		out = in - float64(now.pending-before.pending)
	}
	return &Rates{In: in / over.Seconds(), Out: max(0, out) / over.Seconds(), OverSeconds: over.Seconds()}
}

const historyTime = time.Hour

// Point is one time of the history.
type Point struct {
	Time    time.Time `json:"time"`
	Backlog int64     `json:"backlog"`
	In      float64   `json:"in"` // events a second
	Out     float64   `json:"out"`
}

// history is a ring of points.
type history struct {
	limit  int
	points []Point
	next   int
}

func (h *history) add(s Snapshot) {
	p := Point{Time: s.Time, Backlog: s.Backlog()}
	if s.Rates != nil {
		p.In, p.Out = s.Rates.In, s.Rates.Out
	}
	if len(h.points) < max(1, h.limit) {
		h.points = append(h.points, p)
		return
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % len(h.points)
}

// History returns backlog and rates of at most the last hour, as snapshots found them, the oldest first.
func (m *Monitor) History() []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(append([]Point{}, m.history.points[m.history.next:]...), m.history.points[:m.history.next]...)
}
