package engine

import (
	"slices"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// settlement turns what became of units into rows.
func (s *settler) settlement(batch []*Unit) store.Settlement {
	e := s.e
	b := store.Settlement{Group: e.cfg.Group, Epochs: map[int]int64{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range batch {
		b.Epochs[u.Event.Slot] = u.Epoch
		open := len(b.New)
		routed := u.Retry != nil && u.Whole() && !slices.ContainsFunc(u.verdict.Results, func(r Result) bool { return r.Target == store.Unrouted })
		for i := range u.verdict.Results {
			res := &u.verdict.Results[i]
			d := res.row(u)
			switch {
			case u.Retry == nil || routed:
				if res.State != "" {
					b.New = append(b.New, d)
				}
			case res.State == "":
				if b.Ended == nil {
					b.Ended = make([]store.Delivery, 0, len(batch))
				}
				b.Ended = append(b.Ended, d)
			default:
				b.Failed = append(b.Failed, d)
			}
			if u.Retry != nil && res.Cancels != "" {
				d.Error = res.Cancels
				b.Cancelled = append(b.Cancelled, d)
			}
			// With another of the key in memory behind it, that one will free the key. A scan comes by the next one without its being made due.
			if u.Retry != nil && u.keyed && (res.State == "" || res.Free) && e.lanes.tails[u.tail()] == u {
				if u.passed = u.scan != nil && e.intake.scanning(u.scan); !u.passed {
					b.Freed = append(b.Freed, store.HeldKey{Slot: u.Event.Slot, Target: res.Target, KeyHash: u.key})
				}
			}
		}
		if routed {
			b.Routed = append(b.Routed, store.Delivery{Seq: u.Event.Seq, Target: u.Retry.Target, Slot: u.Event.Slot})
		}
		if u.Retry == nil {
			ref := store.Ref{Slot: u.Event.Slot, Seq: u.Event.Seq}
			if len(b.New) == open {
				b.Done = append(b.Done, ref)
			} else {
				b.Passed = append(b.Passed, ref)
			}
		}
	}
	return b
}

// row returns the result as it is stored.
func (r *Result) row(u *Unit) store.Delivery {
	d := store.Delivery{
		Seq: u.Event.Seq, Target: r.Target, Slot: u.Event.Slot, Destination: r.Destination, State: r.State, Attempts: r.Attempts,
		Wait: r.Wait.Seconds(), Error: r.Error, Parked: r.Parked,
	}
	if u.keyed && !r.Free {
		d.KeyHash = &u.key
	}
	return d
}
