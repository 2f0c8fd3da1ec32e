package engine

import (
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// marks finds what commits late, by the rule of writers' locks.
//
// Numbers are given out in order, but transactions commit in any order, so an event may appear below numbers that were read already.
// A transaction that may still do that has held a write lock on the table since before it took its number. At poll k the reader asks
// for the last number given out, last(k), then lists who holds the lock, then reads:
//
//   - A writer first listed at poll k was not there at poll k-1, so it took its numbers after last(k-1) was asked: all of them are
//     above last(k-1), its floor. When it is not listed any more it has ended, and everything above its floor is read again.
//   - A writer that came and went between two polls was never listed. Its numbers are above last(k-1) too, so every read starts there.
//
// A writer that is listed may end before the read sees the table. The read would find what it wrote above the head, or what another wrote that had
// waited for it, but not what it wrote below. So the read gets the open writers with their floors, and starts below when its own snapshot
// sees one of them as committed.
//
// A prepared transaction changes its name when it is prepared; it inherits the lowest floor of those that ended at that poll.
type marks struct {
	known  bool // false until the first poll, and after reset
	server string
	last   int64
	floors map[string]int64 // by open writer
}

// reset forgets everything; the next poll reads from the start.
func (m *marks) reset() { *m = marks{} }

// quiet reports whether nothing can have changed since the last poll: no number was given out since, and nobody who had one is open.
func (m *marks) quiet(mark store.Mark) bool {
	return m.known && m.server == mark.Server && m.last == mark.Last && len(m.floors) == 0
}

// advance takes what a poll found, mark asked before writers were listed, and returns the number above which everything must be read
// now, and the writers for which more must be if they are seen to have committed.
func (m *marks) advance(mark store.Mark, writers []store.Writer) (from int64, late []store.Late) {
	if !m.known || m.server != mark.Server || mark.Last < m.last {
		m.reset()
	}
	from = m.last
	floors := make(map[string]int64, len(writers))
	for _, w := range writers {
		if floor, ok := m.floors[w.Name]; ok {
			floors[w.Name] = floor
		}
	}
	for w, floor := range m.floors {
		if _, open := floors[w]; !open {
			from = min(from, floor)
		}
	}
	for _, w := range writers {
		if _, ok := floors[w.Name]; !ok {
			floors[w.Name] = m.last
			if strings.HasPrefix(w.Name, "-1/") {
				floors[w.Name] = from
			}
		}
		if floor := floors[w.Name]; floor < from && w.XID != 0 {
			late = append(late, store.Late{XID: w.XID, After: floor})
		}
	}
	m.known, m.server, m.last, m.floors = true, mark.Server, mark.Last, floors
	return from, late
}
