package store

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
)

// Ref names an event.
type Ref struct {
	Slot int
	Seq  int64
}

// Settlement is what became of a batch of events and deliveries.
type Settlement struct {
	// Group and Epochs (by slot) are the leases that the batch was worked under. Every owner of a slot has an epoch of its own.
	Group  string
	Epochs map[int]int64

	// Done are events with nothing left to do after their first pass.
	Done []Ref
	// Passed are events whose first pass left the deliveries of New.
	Passed []Ref
	New    []Delivery
	// Ended are deliveries that were delivered, or that nobody wants any more.
	Ended []Delivery
	// Failed are deliveries with a new state, number of attempts, wait and error.
	Failed []Delivery
	// Cancelled are events of which nothing more is to be sent: what is open of them is dead, with the row's Error. With state
	// [Waiting] the row stays open, a fallback has taken the event, and what else is open of it is over without a trace.
	Cancelled []Delivery
	// Routed are deliveries of the target [Unrouted] whose event has had its first pass after all: they end, and New has what is left of it.
	Routed []Delivery
	// Freed are keys for which an earlier delivery ended: the next one that is held behind it becomes due.
	Freed []HeldKey
}

// Settled is what [Store.Settle] found.
type Settled struct {
	// Lost are slots whose lease was lost or released: Passed, New and Failed of these slots were not written.
	Lost map[int]bool
	// Free are the keys, of Freed and of what was cancelled, that nothing holds back any more.
	Free []HeldKey
}

// Settle writes b in one transaction; on error nothing is written. Success is accepted from anybody, for it is true. What did not succeed
// is written only for slots whose lease is still of the epoch of b, with the lease locked meanwhile, and only of events that have not ended:
// New counts for nothing when the event of Passed is not pending any more. Settling the same batch twice is harmless.
func (s *Store) Settle(ctx context.Context, b Settlement) (Settled, error) {
	var result Settled
	if len(b.Ended) == 0 && b.succeeded() {
		return result, wrap("settle", s.done(ctx, s.db, b.Done))
	}
	if len(b.Done) == 0 && b.succeeded() {
		return result, wrap("settle", s.ended(ctx, s.db, b.Ended))
	}
	err := s.transact(ctx, "settle", func(tx *sqlx.Tx) error {
		result = Settled{}
		if err := s.guard(ctx, tx, b.guarded()); err != nil {
			return err
		}
		var err error
		if result.Lost, err = s.fence(ctx, tx, b); err != nil {
			return err
		}
		lost := result.Lost
		exec := func(query string, rows []Delivery) error {
			kept := keep(rows, lost)
			if len(kept) == 0 {
				return nil
			}
			_, err := tx.ExecContext(ctx, query, asJSON(kept))
			return err
		}
		first, err := s.passed(ctx, tx, b, lost)
		if err != nil {
			return err
		}
		var open, held []Delivery
		for _, d := range b.New {
			switch {
			case !first[d.Seq]:
			case d.State == Held && !d.Parked:
				held = append(held, d)
			default:
				open = append(open, d)
			}
		}
		if err := exec(s.q.open, open); err != nil {
			return err
		}
		if err := exec(s.q.hold, held); err != nil {
			return err
		}
		if err := exec(s.q.failed, b.Failed); err != nil {
			return err
		}
		if err := s.done(ctx, tx, b.Done); err != nil {
			return err
		}
		if err := s.ended(ctx, tx, b.Ended); err != nil {
			return err
		}
		freed, err := s.cancel(ctx, tx, keep(b.Cancelled, lost))
		if err != nil {
			return err
		}
		if freed = append(freed, b.Freed...); len(freed) == 0 {
			return nil
		}
		keys := asJSON(freed)
		if _, err := tx.ExecContext(ctx, s.q.release, keys); err != nil {
			return err
		}
		still, err := s.heldKeys(ctx, tx, s.q.still, keys)
		if err != nil {
			return err
		}
		busy := make(map[HeldKey]bool, len(still))
		for _, k := range still {
			busy[k] = true
		}
		for _, k := range freed {
			if !busy[k] {
				result.Free = append(result.Free, k)
			}
		}
		return nil
	})
	if err != nil {
		return Settled{}, err
	}
	return result, nil
}

// succeeded tells whether b has nothing but events that are done and deliveries that have ended.
func (b *Settlement) succeeded() bool {
	return len(b.Passed)+len(b.New)+len(b.Failed)+len(b.Cancelled)+len(b.Routed)+len(b.Freed) == 0
}

// done ends the first pass of events, of which nothing is left.
func (s *Store) done(ctx context.Context, db sqlx.ExecerContext, events []Ref) error {
	if len(events) == 0 {
		return nil
	}
	slots, seqs := refs(events, nil)
	_, err := db.ExecContext(ctx, s.q.done, s.d.Ints(slots), s.d.Ints(seqs))
	return err
}

// ended deletes deliveries.
func (s *Store) ended(ctx context.Context, db sqlx.ExecerContext, list []Delivery) error {
	if len(list) == 0 {
		return nil
	}
	seqs, targets := names(list)
	_, err := db.ExecContext(ctx, s.q.ended, s.d.Ints(seqs), s.d.Strs(targets))
	return err
}

func names(list []Delivery) (seqs []int64, targets []string) {
	seqs, targets = make([]int64, len(list)), make([]string, len(list))
	for i := range list {
		seqs[i], targets[i] = list[i].Seq, list[i].Target
	}
	return seqs, targets
}

// passed ends the first pass of events and returns those that it was the first pass of, now or by the replay of one that could not be routed. The
// others have ended meanwhile, by the success of a former owner, and must not be opened again.
func (s *Store) passed(ctx context.Context, tx *sqlx.Tx, b Settlement, lost map[int]bool) (map[int64]bool, error) {
	first := map[int64]bool{}
	if err := s.routed(ctx, tx, keep(b.Routed, lost), first); err != nil {
		return nil, err
	}
	slots, seqs := refs(b.Passed, lost)
	if len(seqs) == 0 {
		return first, nil
	}
	return first, mark(ctx, tx, first, s.q.passed, s.d.Ints(slots), s.d.Ints(seqs))
}

// routed ends deliveries that stood for events which could not be routed, and marks those that were there: the event of another was deleted.
func (s *Store) routed(ctx context.Context, tx *sqlx.Tx, list []Delivery, first map[int64]bool) error {
	if len(list) == 0 {
		return nil
	}
	seqs, targets := names(list)
	return mark(ctx, tx, first, s.q.ended+` RETURNING seq`, s.d.Ints(seqs), s.d.Strs(targets))
}

// mark sets every number that query returns.
func mark(ctx context.Context, tx *sqlx.Tx, set map[int64]bool, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return err
		}
		set[seq] = true
	}
	return rows.Err()
}

// cancel ends what is open of events and returns the keys that it held back.
func (s *Store) cancel(ctx context.Context, tx *sqlx.Tx, events []Delivery) ([]HeldKey, error) {
	if len(events) == 0 {
		return nil, nil
	}
	keys, err := s.heldKeys(ctx, tx, s.q.cancelled, asJSON(events))
	if err != nil {
		return nil, err
	}
	var dead, over []Delivery
	for _, d := range events {
		if d.State == Waiting {
			over = append(over, d)
		} else {
			dead = append(dead, d)
		}
	}
	if len(dead) > 0 {
		if _, err := tx.ExecContext(ctx, s.q.cancel, asJSON(dead)); err != nil {
			return nil, err
		}
	}
	if len(over) > 0 {
		if _, err := tx.ExecContext(ctx, s.q.drop, asJSON(over)); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// guarded returns the slots whose held keys b changes.
func (b *Settlement) guarded() (slots []int) {
	for _, k := range b.Freed {
		slots = append(slots, k.Slot)
	}
	for _, d := range b.Cancelled {
		slots = append(slots, d.Slot)
	}
	for _, d := range b.New {
		if d.State == Held {
			slots = append(slots, d.Slot)
		}
	}
	return slots
}

// guard makes settling transactions that end what holds a key, and those that put deliveries behind it, go one after the other, whoever
// runs them: else a delivery is held by one that has just gone, for ever.
func (s *Store) guard(ctx context.Context, tx *sqlx.Tx, slots []int) error {
	if s.q.guard == "" || len(slots) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, s.q.guard, s.ints(slots))
	return err
}

// fence locks the leases that the unsuccessful part of b was worked under and returns the slots whose lease is lost.
func (s *Store) fence(ctx context.Context, tx *sqlx.Tx, b Settlement) (map[int]bool, error) {
	lost := map[int]bool{}
	for _, r := range b.Passed {
		lost[r.Slot] = true
	}
	for _, d := range b.Failed {
		lost[d.Slot] = true
	}
	for _, d := range b.Routed {
		lost[d.Slot] = true
	}
	if len(lost) == 0 {
		return nil, nil
	}
	slots, epochs := make([]int64, 0, len(lost)), make([]int64, 0, len(lost))
	for slot := range lost {
		slots, epochs = append(slots, int64(slot)), append(epochs, b.Epochs[slot])
	}
	rows, err := tx.QueryContext(ctx, s.q.fence, b.Group, s.d.Ints(slots), s.d.Ints(epochs))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var slot int
		if err := rows.Scan(&slot); err != nil {
			return nil, err
		}
		delete(lost, slot)
	}
	return lost, rows.Err()
}

func keep(rows []Delivery, lost map[int]bool) []Delivery {
	if len(lost) == 0 {
		return rows
	}
	var kept []Delivery
	for _, d := range rows {
		if !lost[d.Slot] {
			kept = append(kept, d)
		}
	}
	return kept
}

func refs(list []Ref, lost map[int]bool) (slots, seqs []int64) {
	slots, seqs = make([]int64, 0, len(list)), make([]int64, 0, len(list))
	for _, r := range list {
		if !lost[r.Slot] {
			slots, seqs = append(slots, int64(r.Slot)), append(seqs, r.Seq)
		}
	}
	return slots, seqs
}

var _ queryer = (*sql.Tx)(nil)
