package engine

import (
	"slices"
	"time"
)

// Reading a slot from its start walks over every deleted row that vacuum may not remove yet, which beside a transaction that is held open for long may
// be millions. So such reads are made a few slots at a time, as many as take a moment, and sweeps take a small share of the time.
const (
	sweepMoment = 20 * time.Millisecond
	sweepShare  = 200
)

// sweeper says which slots are read again from their start, whatever the marks say: all of them once an interval, at once or in portions. It is the poll
// loop's own.
type sweeper struct {
	interval time.Duration
	next     time.Time
	after    int // the slot that the round has come to; -1 at its beginning
	portion  int // how many slots are read from the start at once; 0 for all
}

func newSweeper(interval time.Duration, now time.Time) *sweeper {
	return &sweeper{interval: interval, next: now.Add(interval), after: -1}
}

// atOnce returns how many of a number of slots may be read from the start at once.
func (s *sweeper) atOnce(slots int) int {
	if s.portion == 0 {
		return slots
	}
	return min(s.portion, slots)
}

// due returns which of slots, in their order, to sweep now.
func (s *sweeper) due(now time.Time, slots []int) []int {
	if now.Before(s.next) || len(slots) == 0 {
		return nil
	}
	if s.after >= slots[len(slots)-1] { // the last ones were given up
		s.after = -1
	}
	first, _ := slices.BinarySearch(slots, s.after+1)
	return slots[first:][:min(s.atOnce(len(slots)), len(slots)-first)]
}

// begins reports whether the next portion is the first of a round.
func (s *sweeper) begins() bool { return s.after < 0 }

// took learns from a read of a number of slots from the start how many to read at once, of all.
func (s *sweeper) took(d time.Duration, read, all int) {
	switch {
	case d > sweepMoment:
		s.portion = max(1, min(s.atOnce(all), read)/2)
	case d < sweepMoment/4 && s.portion > 0 && read >= s.portion:
		if s.portion *= 2; s.portion >= all {
			s.portion = 0
		}
	}
}

// done plans what comes after swept, of slots: when its share of the interval has passed, and never so soon that sweeps take more than their share of
// the time.
func (s *sweeper) done(now time.Time, took time.Duration, swept, slots []int) {
	s.next = now.Add(max(s.interval*time.Duration(len(swept))/time.Duration(len(slots)), sweepShare*took))
	if s.after = swept[len(swept)-1]; s.after == slots[len(slots)-1] {
		s.after = -1
	}
}
