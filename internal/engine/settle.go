package engine

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// settler writes outcomes down. What cannot be written stays in memory and is tried again; meanwhile nothing is published. The engine's mutex guards
// it.
type settler struct {
	e    *Engine
	wake signal

	outcomes []*Unit // decided, to be written
	settled  []*Unit // to forget before the next read
	broken   bool    // the last settle failed: nothing new is published
}

// add takes a unit whose verdict is to be written. The caller holds mu.
func (s *settler) add(u *Unit) {
	s.outcomes = append(s.outcomes, u)
	if len(s.outcomes) == 1 || len(s.outcomes) >= s.e.cfg.SettleBatch {
		s.wake.give()
	}
}

// loop writes outcomes until the engine has stopped and nothing is left.
func (s *settler) loop() {
	for {
		batch, more := s.batch()
		if len(batch) == 0 {
			if !more {
				return
			}
			<-s.wake
			continue
		}
		if !s.settle(batch) {
			return
		}
	}
}

// batch takes what is decided, after waiting a moment for others. More is false when nothing can come any more.
func (s *settler) batch() (batch []*Unit, more bool) {
	e := s.e
	e.mu.Lock()
	n, waiting := len(s.outcomes), e.workers.active
	e.mu.Unlock()
	if n > 0 && n < e.cfg.SettleBatch && waiting > 0 {
		s.collect()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	epochs := map[int]int64{}
	var later []*Unit
	for _, u := range s.outcomes {
		epoch, ok := epochs[u.Event.Slot]
		if len(batch) >= e.cfg.SettleBatch || ok && epoch != u.Epoch {
			later = append(later, u)
			continue
		}
		epochs[u.Event.Slot] = u.Epoch
		batch = append(batch, u)
	}
	s.outcomes = later
	return batch, len(batch) > 0 || !e.workers.halted || e.workers.active > 0 && !e.over
}

// collect waits for more outcomes: until a batch is full, or SettleDelay has passed.
func (s *settler) collect() {
	t := time.NewTimer(s.e.cfg.SettleDelay)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-s.wake:
			s.e.mu.Lock()
			full := len(s.outcomes) >= s.e.cfg.SettleBatch
			s.e.mu.Unlock()
			if full {
				return
			}
		}
	}
}

// settle writes one batch, as often as it takes. It returns false when the engine stopped and it could not be written.
func (s *settler) settle(batch []*Unit) bool {
	e := s.e
	b := s.settlement(batch)
	for failures := 0; ; failures++ {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.QueryTimeout)
		begun := time.Now()
		found, err := e.store.Settle(ctx, b)
		cancel()
		if err == nil {
			s.tell(b, len(batch), time.Since(begun))
			s.applied(batch, b, found)
			if failures > 0 { // not before: nothing must be read while lost outcomes are on the books
				s.setBroken(false)
				e.logger.Info("Writing outcomes again", watermill.LogFields{"failures": failures})
			}
			return true
		}
		if failures == 0 {
			s.setBroken(true)
		}
		if Notable(failures + 1) {
			e.logger.Error("Cannot write what was delivered; publishing stops until it works", err, watermill.LogFields{"events": len(batch)})
		}
		t := time.NewTimer(Backoff(failures))
		select {
		case <-t.C:
		case <-e.aborted:
			t.Stop()
			e.logger.Error("Closed before it was written what was delivered; these events will be sent again", err,
				watermill.LogFields{"events": len(batch)})
			return false
		}
	}
}

// tell tells the hooks what was written.
func (s *settler) tell(b store.Settlement, events int, took time.Duration) {
	s.e.cfg.Hooks.Settled(events, took)
	for _, list := range [][]store.Delivery{b.New, b.Failed} {
		for i := range list {
			if list[i].State == store.Dead {
				s.e.cfg.Hooks.Died(list[i].Destination)
			}
		}
	}
}

func (s *settler) setBroken(broken bool) {
	s.e.mu.Lock()
	s.broken = broken
	s.e.mu.Unlock()
	s.e.intake.wake.give()
}

// applied brings what is in memory up to what was written.
func (s *settler) applied(batch []*Unit, b store.Settlement, found store.Settled) {
	e := s.e
	now, opened := time.Now(), map[Scope]bool{}
	e.mu.Lock()
	defer e.mu.Unlock()
	in := &e.intake
	for _, u := range batch {
		s.settled = append(s.settled, u)
		e.lanes.unbook(u)
		switch {
		case !u.passed:
		case in.scanning(u.scan):
			u.scan.repeat = true // it may have passed by, before what was just written could be seen
		default:
			opened[u.scan.scope] = true
		}
		own := e.lanes.slots[u.Event.Slot]
		if found.Lost[u.Event.Slot] {
			if !u.delivered() {
				e.returned(u)
			}
			if own != nil {
				own.reread() // the lease loop will find out too, or has already and got the slot again
			}
			continue
		}
		if own == nil || own.epoch != u.Epoch {
			continue
		}
		s.planRetries(u, now, opened)
		own.written(u)
	}
	for scope := range opened {
		in.scanHeld(scope)
	}
	for _, k := range found.Free {
		if own := e.lanes.slots[k.Slot]; own != nil && own.epoch == b.Epochs[k.Slot] {
			own.free(k.Target, k.KeyHash)
		}
	}
	if len(b.Freed) > len(found.Free) { // the next of a key was made due
		in.nextDue = time.Time{}
	}
	if in.full || in.nextDue.Before(now.Add(e.cfg.SleepIdle)) {
		in.wake.give()
	}
}

// planRetries plans when to look for what is left to do for u, and adds what has opened meanwhile. The caller holds mu.
func (s *settler) planRetries(u *Unit, now time.Time, opened map[Scope]bool) {
	e := s.e
	for i := range u.verdict.Results {
		switch res := &u.verdict.Results[i]; {
		case res.State == store.Waiting:
			e.intake.dueBy(now.Add(res.Wait))
		case res.State != store.Held:
		case !res.Parked:
			e.intake.dueBy(now.Add(e.cfg.SleepIdleMax)) // it may be due already, if what it waited for has ended meanwhile
		case !e.gates.Blocked(&u.Event, res.Destination): // a scan since it opened has not seen this row
			opened[e.gates.Scope(res.Destination)] = true
		}
	}
}
