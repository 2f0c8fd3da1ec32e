package store

import (
	"context"
	"database/sql"
)

// Glance is an event with its status at one time. Of an event that a filter left out, everything but Seq is empty.
type Glance struct {
	Event
	Status string // NEW, FAILED, SENT, DEAD or SKIPPED
}

// Look selects events by After, Seqs or Last: only one of them is used.
type Look struct {
	After  int64   // events with higher numbers
	Seqs   []int64 // these events
	Last   int     // as many events, those with the highest numbers
	Limit  int     // of the result
	Inline int     // largest size in bytes of a payload that is returned
	Filter Filter
}

// Look returns events in any status, in the order of their numbers.
func (s *Store) Look(ctx context.Context, l Look) ([]Glance, error) {
	query, from := s.q.glance.after, any(l.After)
	switch {
	case l.Seqs != nil:
		query, from = s.q.glance.these, s.d.Ints(l.Seqs)
	case l.Last > 0:
		query, from = s.q.glance.last, l.Last
	}
	tenants, topics := s.filterArgs(l.Filter)
	return look(ctx, s, "look at events", query, func(rows *sql.Rows) (g Glance, err error) {
		return g, rows.Scan(append([]any{&g.Seq, &g.Slot, &g.Status}, g.scanner(s.d)...)...)
	}, from, l.Limit, l.Inline, tenants, topics)
}
