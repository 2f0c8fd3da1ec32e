package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Looks at the first pending entries that are slow take a small share of the time: after one that took a second, the next is in 50 s.
const (
	headsSlow  = 50 * time.Millisecond
	headsShare = 50
)

// heads is what a store knows of the first pending entry of each slot. Where vacuum cannot remove deleted rows, all of them are in front of it, and a look
// at them takes a second a million. Meanwhile it is enough to look behind what was first.
type heads struct {
	mu   sync.Mutex
	full time.Time // of the last look at all
	took time.Duration
	err  error // of that look, where none before had come to its end
	last front
}

// front is one look at the first pending entries.
type front struct {
	last   int64 // number that was given out
	first  int64 // pending
	slots  []int64
	oldest sql.NullFloat64 // age in seconds of the first
	took   time.Duration   // of the last look at all
}

func (l front) average() float64 {
	sum := 0.0
	for _, seq := range l.slots {
		sum += float64(seq)
	}
	return sum / float64(max(1, len(l.slots)))
}

// lookAtHeads looks at all entries, unless that took long, is not long ago and need not be exact. An entry that was committed late, behind others of its slot, is then
// seen by the next look at all.
func (s *Store) lookAtHeads(ctx context.Context, exact bool) (front, error) {
	h := &s.heads
	h.mu.Lock()
	before := h.last
	floors, full := before.slots, exact || h.full.IsZero() || h.took < headsSlow || time.Since(h.full) >= headsShare*h.took
	err := h.err
	h.mu.Unlock()
	if !full && floors == nil {
		return front{}, err
	}
	if full {
		floors = make([]int64, s.SlotCount())
	}
	begin := time.Now()
	var now front
	var slots string
	if err := s.db.QueryRowContext(ctx, s.q.backlog.heads, s.d.Ints(floors)).Scan(&now.last, &now.first, &slots, &now.oldest); err != nil {
		if full && errors.Is(ctx.Err(), context.DeadlineExceeded) { // every look would take as long, and fail
			took := time.Since(begin)
			err = fmt.Errorf("look at the first pending entries, which did not end in %s; deleted rows that vacuum cannot remove may be in front: %w",
				took.Round(time.Millisecond), err)
			h.mu.Lock()
			h.full, h.took, h.err = begin, took, err
			h.mu.Unlock()
		}
		return now, err
	}
	took := time.Since(begin)
	if err := json.Unmarshal([]byte(slots), &now.slots); err != nil {
		return now, fmt.Errorf("read the first pending entries: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case full:
		h.full, h.took = begin, took
	case now.last < before.last: // a new table
		h.full = time.Time{}
	}
	h.last = now
	now.took = h.took
	return now, nil
}
