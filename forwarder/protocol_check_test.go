package forwarder

import (
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// event is one committed event.
type event struct {
	n, slot int
	seq     int64
	key     string // empty: none
	route   protocolRoute
	arrived map[string]bool // by target
}

// delivery is a row of outbox_deliveries.
type deliveryRow struct {
	state    store.State
	attempts int
	holds    bool // its key
}

type deliveryID struct {
	seq    int64
	target string
}

// stored is what the database holds.
type stored struct {
	events     int
	pending    map[int64]bool
	deliveries map[deliveryID]deliveryRow
	slots      map[int]slotRow
}

type slotRow struct {
	owned bool
	epoch int64
	left  time.Duration // of the owner's lease
}

// over tells whether nothing is left to do for an event and a target.
func (s *stored) over(e *event, target string) bool {
	d, ok := s.deliveries[deliveryID{e.seq, target}]
	return !s.pending[e.seq] && (!ok || d.state == store.Dead || d.state == store.Skipped)
}

// holds tells whether later events of its key wait for e.
func (s *stored) holds(e *event, target string) bool {
	return s.pending[e.seq] || s.deliveries[deliveryID{e.seq, target}].holds
}

// free tells whether a delivery stands outside the order of its key.
func (s *stored) free(e *event, target string) bool {
	_, ok := s.deliveries[deliveryID{e.seq, target}]
	return e.key == "" || ok && !s.holds(e, target)
}

func (w *protocolWorld) load() *stored {
	s := &stored{events: len(w.events), pending: map[int64]bool{}, deliveries: map[deliveryID]deliveryRow{}, slots: map[int]slotRow{}}
	rows, err := w.db.Query(w.sql.everything)
	require.NoError(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var kind, text string
		var a, b int64
		var flag bool
		var left float64
		require.NoError(w.t, rows.Scan(&kind, &a, &text, &b, &flag, &left))
		switch kind {
		case "pending":
			s.pending[a] = true
		case "slot":
			s.slots[int(a)] = slotRow{owned: flag, epoch: b, left: time.Duration(left * float64(time.Second))}
		default:
			s.deliveries[deliveryID{a, text}] = deliveryRow{state: store.State(kind), attempts: int(b), holds: flag}
		}
	}
	require.NoError(w.t, rows.Err())
	return s
}

// check looks at what has changed since it was called last.
func (w *protocolWorld) check() {
	before, begun := w.stored, w.collect()
	w.stored = w.load()
	w.publishes = append(w.publishes, begun...)
	w.nothingEndedIsReopened(before)
	w.onlyOwnersFail(before)
	for _, p := range begun {
		w.t.Logf("member %d epoch %d: publish of event %d to %s begins", p.m.number, p.epoch, p.e.n, p.target)
		w.mayBegin(p)
	}
}

func (w *protocolWorld) nothingEndedIsReopened(before *stored) {
	for _, e := range w.events[:before.events] {
		for _, target := range e.route.targets {
			if before.pending[e.seq] || !before.over(e, target) || w.replayed[deliveryID{e.seq, target}] {
				continue
			}
			require.True(w.t, w.stored.over(e, target), "event %d to %s had ended and is open again: %+v", e.n, target,
				w.stored.deliveries[deliveryID{e.seq, target}])
		}
	}
	clear(w.replayed)
}

// onlyOwnersFail: an attempt is only counted by the owner of the slot, for a publish of its own epoch.
func (w *protocolWorld) onlyOwnersFail(before *stored) {
	for _, e := range w.events {
		for _, target := range e.route.targets {
			id := deliveryID{e.seq, target}
			was, is := before.deliveries[id], w.stored.deliveries[id]
			if is.attempts <= was.attempts {
				continue
			}
			failed := false
			for _, p := range w.publishes {
				failed = failed || p.e == e && p.target == target && p.ended && p.result != nil && p.epoch == w.stored.slots[e.slot].epoch
			}
			require.True(w.t, failed, "event %d to %s: %+v became %+v, but no publish of epoch %d failed", e.n, target, was, is,
				w.stored.slots[e.slot].epoch)
		}
	}
}

// mayBegin checks that p was allowed to begin.
func (w *protocolWorld) mayBegin(p *publishing) {
	p.free = w.stored.free(p.e, p.target)
	s := w.stored.slots[p.e.slot]
	require.Equal(w.t, s.epoch, p.epoch, "member %d publishes event %d under the epoch of another owner", p.m.number, p.e.n)
	require.True(w.t, s.owned, "member %d publishes event %d of a slot that nobody owns", p.m.number, p.e.n)
	require.Greater(w.t, s.left, protocolMargin-protocolSlack, "member %d publishes event %d within the margin of its lease", p.m.number, p.e.n)
	p.m.mu.Lock()
	unwritten := p.m.unwritten
	p.m.mu.Unlock()
	require.False(w.t, unwritten, "member %d publishes event %d while it cannot write outcomes", p.m.number, p.e.n)
	for _, o := range w.publishes {
		if o == p || o.ended || o.e.slot != p.e.slot {
			continue
		}
		if o.m != p.m || o.epoch != p.epoch {
			require.GreaterOrEqual(w.t, time.Since(o.began), protocolMargin-protocolSlack,
				"members %d and %d publish events %d and %d of one slot at the same time", o.m.number, p.m.number, o.e.n, p.e.n)
		}
		if o.m == p.m && o.target == p.target && !p.free && !o.free && o.e.key == p.e.key {
			require.Fail(w.t, "two of a key in flight", "events %d and %d by member %d", o.e.n, p.e.n, p.m.number)
		}
	}
	if p.free {
		return
	}
	for _, o := range w.events[:p.e.n] {
		if o.key == p.e.key && o.sentTo(p.target) {
			require.True(w.t, !w.stored.holds(o, p.target) || w.through(p, o), "member %d publishes event %d to %s before event %d is through",
				p.m.number, p.e.n, p.target, o.n)
		}
	}
}

func (e *event) sentTo(target string) bool {
	for _, t := range e.route.targets {
		if t == target {
			return true
		}
	}
	return false
}

// through tells whether the member of p knows that o got through to p's target, though it may not be written down yet.
func (w *protocolWorld) through(p *publishing, o *event) bool {
	var last *publishing
	for _, q := range w.publishes {
		if q.m == p.m && q.e == o && q.target == p.target {
			last = q
		}
	}
	if last == nil || !last.ended {
		return false
	}
	return last.result == nil || last.epoch == p.epoch && o.route.name != "hold" && (o.route.once[p.target] || middleware.IsPermanent(last.result))
}

// final checks the end: every event has arrived, or is dead or was discarded.
func (w *protocolWorld) final() {
	for _, e := range w.events {
		for _, target := range e.route.targets {
			d, ok := w.stored.deliveries[deliveryID{e.seq, target}]
			require.True(w.t, ok || e.arrived[target], "event %d is lost: it did not arrive at %s", e.n, target)
			require.True(w.t, !ok || d.state == store.Dead || d.state == store.Skipped, "event %d to %s is left open: %+v", e.n, target, d)
		}
	}
	require.Empty(w.t, w.stored.pending)
	for _, m := range w.members {
		if m.crashed || m.err != nil { // until its lease ends
			return
		}
	}
	for n, s := range w.stored.slots {
		require.False(w.t, s.owned, "slot %d is still owned", n)
	}
}

var errNotToday = errors.New("not today")
