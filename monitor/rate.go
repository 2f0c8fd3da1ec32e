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
	pending store.Count
}

// rates compares with the snapshot before, and makes this one what the next compares with.
func (m *Monitor) rates(at time.Time, b store.Backlog) *Rates {
	before, now := m.mark, mark{at: at, last: b.Last, head: b.Head, pending: b.State(store.Pending)}
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
	// Counted, it is right. Where too many are pending to count them, the first number that is pending in each slot tells.
	out := now.head - before.head
	if before.pending.Exact && now.pending.Exact {
		out = in - float64(now.pending.Count-before.pending.Count)
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
	p := Point{Time: s.Time, Backlog: s.Totals.Backlog()}
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

// History returns backlog and rates of the last hour at most, as snapshots found them, the oldest first.
func (m *Monitor) History() []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(append([]Point{}, m.history.points[m.history.next:]...), m.history.points[:m.history.next]...)
}
