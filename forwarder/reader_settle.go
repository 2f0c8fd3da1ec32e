package forwarder

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// settleLoop writes outcomes down until the reader has stopped and nothing is left. What cannot be written stays in memory and is tried
// again; meanwhile nothing is published.
func (r *reader) settleLoop() {
	for {
		batch, more := r.outcomeBatch()
		if len(batch) == 0 {
			if !more {
				return
			}
			<-r.wakeSettle
			continue
		}
		if !r.settle(batch) {
			return
		}
	}
}

// outcomeBatch takes what is finished, after waiting a moment for others. More is false when nothing can come any more.
func (r *reader) outcomeBatch() (batch []*unit, more bool) {
	r.mu.Lock()
	n, waiting := len(r.outcomes), r.active
	r.mu.Unlock()
	if n > 0 && n < r.cfg.SettleBatch && waiting > 0 {
		t := time.NewTimer(r.cfg.SettleDelay)
	collect:
		for {
			select {
			case <-t.C:
				break collect
			case <-r.wakeSettle:
				r.mu.Lock()
				full := len(r.outcomes) >= r.cfg.SettleBatch
				r.mu.Unlock()
				if full {
					t.Stop()
					break collect
				}
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	epochs := map[int]int64{}
	var later []*unit
	for _, u := range r.outcomes {
		epoch, ok := epochs[u.event.Slot]
		if len(batch) >= r.cfg.SettleBatch || ok && epoch != u.epoch {
			later = append(later, u)
			continue
		}
		epochs[u.event.Slot] = u.epoch
		batch = append(batch, u)
	}
	r.outcomes = later
	return batch, len(batch) > 0 || !r.halted || r.active > 0 && (!r.alone || !r.aborted())
}

// settle writes one batch, as often as it takes. It returns false when the reader stopped and it could not be written.
func (r *reader) settle(batch []*unit) bool {
	b := r.settlement(batch)
	for failures := 0; ; failures++ {
		ctx, cancel := context.WithTimeout(context.Background(), r.cfg.QueryTimeout)
		begun := time.Now()
		found, err := r.store.Settle(ctx, b)
		cancel()
		if err == nil {
			r.tell(b, len(batch), time.Since(begun))
			r.applied(batch, b, found)
			if failures > 0 { // not before: nothing must be read while lost outcomes are on the books
				r.setBroken(false)
				r.logger.Info("Writing outcomes again", watermill.LogFields{"failures": failures})
			}
			return true
		}
		if failures == 0 {
			r.setBroken(true)
		}
		if notable(failures + 1) {
			r.logger.Error("Cannot write what was delivered; publishing stops until it works", err, watermill.LogFields{"events": len(batch)})
		}
		t := time.NewTimer(backoff(failures))
		select {
		case <-t.C:
		case <-r.abort:
			t.Stop()
			r.logger.Error("Closed before it was written what was delivered; these events will be sent again", err,
				watermill.LogFields{"events": len(batch)})
			return false
		}
	}
}

// tell tells the hooks what was written.
func (r *reader) tell(b store.Settlement, events int, took time.Duration) {
	r.cfg.Hooks.Settled(events, took)
	for _, list := range [][]store.Delivery{b.New, b.Failed} {
		for i := range list {
			if list[i].State == store.Dead {
				r.cfg.Hooks.Died(list[i].Destination)
			}
		}
	}
}

func (r *reader) aborted() bool {
	select {
	case <-r.abort:
		return true
	default:
		return false
	}
}

func (r *reader) setBroken(broken bool) {
	r.mu.Lock()
	r.broken = broken
	r.mu.Unlock()
	r.wakePoll.give()
}

// settlement turns what became of units into rows.
func (r *reader) settlement(batch []*unit) store.Settlement {
	b := store.Settlement{Group: r.group, Epochs: map[int]int64{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range batch {
		e := &u.event
		b.Epochs[e.Slot] = u.epoch
		open := len(b.New)
		routed := u.retry != nil && u.whole() && !slices.ContainsFunc(u.results, func(r result) bool { return r.name == store.Unrouted })
		for i := range u.results {
			res := &u.results[i]
			d := store.Delivery{
				Seq: e.Seq, Target: res.name, Slot: e.Slot, Destination: targetName(res.destination), State: res.state, Attempts: res.attempts,
				Wait: res.wait.Seconds(), Error: res.err, Parked: res.parked,
			}
			if u.keyed && !res.free {
				d.KeyHash = &u.key
			}
			switch {
			case u.retry == nil || routed:
				if res.state != "" {
					b.New = append(b.New, d)
				}
			case res.state == "":
				if b.Ended == nil {
					b.Ended = make([]store.Delivery, 0, len(batch))
				}
				b.Ended = append(b.Ended, d)
			default:
				b.Failed = append(b.Failed, d)
			}
			if u.retry != nil && res.together && res.gaveUp() {
				d.Error = cancelText(res.name)
				b.Cancelled = append(b.Cancelled, d)
			}
			// With another of the key in memory behind it, that one will free the key. A scan comes by the next one without its being made due.
			if u.retry != nil && u.keyed && (res.state == "" || res.free) && r.tails[u.tail()] == u {
				if u.passed = u.scan != nil && slices.Contains(r.scans, u.scan); !u.passed {
					b.Freed = append(b.Freed, store.HeldKey{Slot: e.Slot, Target: res.name, KeyHash: u.key})
				}
			}
		}
		if routed {
			b.Routed = append(b.Routed, store.Delivery{Seq: e.Seq, Target: u.retry.Target, Slot: e.Slot})
		}
		if u.retry == nil {
			ref := store.Ref{Slot: e.Slot, Seq: e.Seq}
			if len(b.New) == open {
				b.Done = append(b.Done, ref)
			} else {
				b.Passed = append(b.Passed, ref)
			}
		}
	}
	return b
}

// applied brings what is in memory up to what was written.
func (r *reader) applied(batch []*unit, b store.Settlement, found store.Settled) {
	now, opened := time.Now(), map[heldScope]bool{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range batch {
		r.settled = append(r.settled, u)
		r.released(u)
		switch {
		case !u.passed:
		case slices.Contains(r.scans, u.scan):
			u.scan.repeat = true // it may have passed by, before what was just written could be seen
		default:
			opened[u.scan.scope] = true
		}
		s := r.slots[u.event.Slot]
		if found.Lost[u.event.Slot] && !u.delivered() {
			r.sub.repeats.note(u)
		}
		if s != nil && found.Lost[u.event.Slot] {
			s.reread() // the lease loop will find out too, or has already and got the slot again
			continue
		}
		if s == nil || s.epoch != u.epoch {
			continue
		}
		for i := range u.results {
			res := &u.results[i]
			switch res.state {
			case store.Waiting:
				r.dueBy(now.Add(res.wait))
			case store.Held:
				if res.parked {
					// A scan since it opened has not seen this row.
					if !r.sub.gates.closed(u, res.destination) {
						opened[r.sub.gates.scope(targetName(res.destination))] = true
					}
				} else {
					r.dueBy(now.Add(r.cfg.SleepIdleMax)) // it may be due already, if what it waited for has ended meanwhile
				}
			}
			if u.keyed && u.retry == nil && res.holds() {
				if blk := s.blocks[blockID{res.name, u.key}]; blk != nil {
					blk.unsettled--
					blk.rows = true
				}
			}
		}
	}
	for scope := range opened {
		r.scanHeld(scope)
	}
	for _, k := range found.Free {
		s := r.slots[k.Slot]
		if s == nil || s.epoch != b.Epochs[k.Slot] {
			continue
		}
		id := blockID{k.Target, k.KeyHash}
		if blk := s.blocks[id]; blk != nil {
			if blk.rows = false; blk.unsettled == 0 {
				delete(s.blocks, id)
			}
		}
	}
	if len(b.Freed) > len(found.Free) { // the next of a key was made due
		r.nextDue = time.Time{}
	}
	if r.full || r.nextDue.Before(now.Add(r.cfg.SleepIdle)) {
		r.wakePoll.give()
	}
}

// dueBy makes the poll loop look for due deliveries not later than t. The caller holds mu.
func (r *reader) dueBy(t time.Time) {
	if t.Before(r.nextDue) {
		r.nextDue = t
	}
}
