package store

import "context"

// Glance is an event as it stands: what happened to it may change any time. Of one that a filter left out, all but Seq is empty.
type Glance struct {
	Event
	Status string // NEW, FAILED, SENT, DEAD or SKIPPED
}

// Look says which events are looked at. At most one of After, Seqs and Last is used.
type Look struct {
	After  int64   // those above, by number
	Seqs   []int64 // or these
	Last   int     // or those with the highest numbers, at most so many
	Limit  int     // at most so many
	Inline int     // payloads longer than so many bytes are left out
	Filter Filter
}

// Look returns events in the order of their numbers, whatever became of them.
func (s *Store) Look(ctx context.Context, l Look) ([]Glance, error) {
	query, from := s.q.glance.after, any(l.After)
	switch {
	case l.Seqs != nil:
		query, from = s.q.glance.these, s.d.Ints(l.Seqs)
	case l.Last > 0:
		query, from = s.q.glance.last, l.Last
	}
	tenants, topics := s.filterArgs(l.Filter)
	rows, err := s.db.QueryContext(ctx, query, from, l.Limit, l.Inline, tenants, topics)
	if err != nil {
		return nil, wrap("look at events", err)
	}
	defer rows.Close()
	var list []Glance
	var g Glance
	into := append([]any{&g.Seq, &g.Slot, &g.Status}, g.scanner(s.d)...)
	for rows.Next() {
		g.Payload = nil
		if err := rows.Scan(into...); err != nil {
			return nil, wrap("look at events", err)
		}
		list = append(list, g)
	}
	return list, wrap("look at events", rows.Err())
}
