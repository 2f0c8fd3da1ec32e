package engine

import (
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// lanes is the order in memory: the units that were read, and which of them may run now. Units of one ordering key run one after the other; a
// unit without a key runs at once. The engine's mutex guards it.
type lanes struct {
	slots   map[int]*slot
	known   map[unitID]*Unit  // queued, in flight, or not settled yet
	chains  map[int64][]*Unit // by ordering key, while a unit of it runs or is ready: those that wait behind it
	ready   []*Unit
	tails   map[tailID]*Unit // the last retried delivery, in memory or unsettled, of a key and target
	drained signal           // given when a slot that drains has nothing in memory any more
}

func newLanes(drained signal) lanes {
	return lanes{
		slots: map[int]*slot{}, known: map[unitID]*Unit{}, chains: map[int64][]*Unit{}, tails: map[tailID]*Unit{}, drained: drained,
	}
}

// add takes u in: behind the others of its key, or ready to run. Without order no unit has a key.
func (l *lanes) add(u *Unit, s *slot, ordered bool) {
	if key := u.Event.Key(); key != "" && ordered && (u.Retry == nil || u.Retry.KeyHash != nil) {
		u.key, u.keyed = store.KeyHash(u.Event.TenantID, key), true
	}
	l.known[u.id()] = u
	s.units++
	if u.Retry != nil {
		s.retries++
		if u.keyed {
			u.after, l.tails[u.tail()] = l.tails[u.tail()], u
		}
	}
	if u.keyed {
		queue, busy := l.chains[u.key]
		if busy {
			l.chains[u.key] = append(queue, u)
			return
		}
		l.chains[u.key] = nil
	}
	l.ready = append(l.ready, u)
}

// next takes out a unit that may run, nil when there is none.
func (l *lanes) next() *Unit {
	if len(l.ready) == 0 {
		return nil
	}
	u := l.ready[0]
	l.ready[0] = nil
	if l.ready = l.ready[1:]; len(l.ready) == 0 {
		l.ready = nil
	}
	return u
}

// advance makes the unit behind u ready, when u has ended.
func (l *lanes) advance(u *Unit) {
	if !u.keyed {
		return
	}
	if queue := l.chains[u.key]; len(queue) > 0 {
		l.ready = append(l.ready, queue[0])
		l.chains[u.key] = queue[1:]
	} else {
		delete(l.chains, u.key)
	}
}

// tail is what the unit is in the order of.
func (u *Unit) tail() tailID { return tailID{u.Event.Slot, blockID{u.Retry.Target, u.key}} }

// dropTail makes the next delivery of u's key and target wait for what u waited for.
func (l *lanes) dropTail(u *Unit) {
	if u.Retry == nil || !u.keyed || l.tails[u.tail()] != u {
		return
	}
	before := u.after
	for before != nil && l.known[before.id()] != before {
		before = before.after
	}
	if before == nil {
		delete(l.tails, u.tail())
	} else {
		l.tails[u.tail()] = before
	}
}

// forget drops u, which may be read again at once.
func (l *lanes) forget(u *Unit) {
	delete(l.known, u.id())
	l.dropTail(u)
	l.unbook(u)
}

// forgetSettled drops u, which was taken off the books of its slot before. It must be called before anything is read again.
func (l *lanes) forgetSettled(u *Unit) {
	if l.known[u.id()] == u { // else it was lost, and has been read again
		delete(l.known, u.id())
	}
	l.dropTail(u)
}

// unbook takes u off the books of its slot.
func (l *lanes) unbook(u *Unit) {
	s := l.slots[u.Event.Slot]
	if s == nil || s.epoch != u.Epoch {
		return
	}
	if s.units--; s.units == 0 && s.draining {
		l.drained.give()
	}
	if u.Retry != nil {
		s.retries--
	}
}

// forgetBehind drops what waits behind u, and reports whether any of it was a retry.
func (l *lanes) forgetBehind(u *Unit) (retries bool) {
	if !u.keyed {
		return false
	}
	for _, q := range l.chains[u.key] {
		l.forget(q)
		retries = retries || q.Retry != nil
	}
	l.chains[u.key] = nil
	return retries
}

// drop drops every unit that is not in flight and in a slot for which which holds. A key stays within one slot.
func (l *lanes) drop(which func(slot int) bool) {
	kept := l.ready[:0:0]
	for _, u := range l.ready {
		if !which(u.Event.Slot) {
			kept = append(kept, u)
			continue
		}
		l.forget(u)
		if u.keyed {
			l.forgetBehind(u)
			delete(l.chains, u.key)
		}
	}
	l.ready = kept
	for key, queue := range l.chains { // behind units in flight
		if len(queue) > 0 && which(queue[0].Event.Slot) {
			for _, q := range queue {
				l.forget(q)
			}
			l.chains[key] = nil
		}
	}
}

// owned reports whether the lease that u was read under is still the engine's. Failures of another's lease are refused when they are to be written.
func (l *lanes) owned(u *Unit) bool {
	s := l.slots[u.Event.Slot]
	return s != nil && s.epoch == u.Epoch
}

// block notes at once which keys the results of u hold back, so that the next unit of its key sees it.
func (l *lanes) block(u *Unit) {
	if !u.keyed || u.Retry != nil || !l.owned(u) {
		return
	}
	s := l.slots[u.Event.Slot]
	for i := range u.verdict.Results {
		res := &u.verdict.Results[i]
		if !res.holds() {
			continue
		}
		id := blockID{res.Target, u.key}
		b := s.blocks[id]
		if b == nil {
			b = &block{}
			s.blocks[id] = b
		}
		b.unsettled++
	}
}

// written notes that rows hold back what the results of u did.
func (s *slot) written(u *Unit) {
	if !u.keyed || u.Retry != nil {
		return
	}
	for i := range u.verdict.Results {
		res := &u.verdict.Results[i]
		if b := s.blocks[blockID{res.Target, u.key}]; b != nil && res.holds() {
			b.unsettled--
			b.rows = true
		}
	}
}

// free notes that no row holds a key back any more.
func (s *slot) free(target string, key int64) {
	id := blockID{target, key}
	if b := s.blocks[id]; b != nil {
		if b.rows = false; b.unsettled == 0 {
			delete(s.blocks, id)
		}
	}
}

// heldBack reports whether an earlier event of u's key is not through to a target.
func (l *lanes) heldBack(u *Unit, target string) bool {
	s := l.slots[u.Event.Slot]
	return s != nil && s.blocks[blockID{target, u.key}] != nil
}
