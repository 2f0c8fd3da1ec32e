package store

import (
	"context"
	"fmt"
)

// Leftovers counts pending entries and deliveries of events that are not in the table: their partition was detached or dropped, or they were deleted
// while the trigger was off. They are counted forever, and one that holds its key keeps all later events of the key waiting.
type Leftovers struct {
	Pending    int64  `json:"pending"`
	Deliveries int64  `json:"deliveries"`
	Fix        string `json:"fix"` // the SQL that removes them; empty when there are none
}

// leftoversMost is the number of rows of each table that are checked.
const leftoversMost = 100_000

// Leftovers checks the first 100,000 rows of each table. Once leftovers are removed, what they held goes on with a forwarder's next sweep.
func (s *Store) Leftovers(ctx context.Context) (Leftovers, error) {
	var l Leftovers
	err := s.db.QueryRowContext(ctx, s.q.diagnose.leftovers, leftoversMost).Scan(&l.Pending, &l.Deliveries)
	if err == nil && l.Pending+l.Deliveries > 0 {
		remove := func(table string) string {
			return fmt.Sprintf("DELETE FROM %s AS p WHERE NOT EXISTS (SELECT 1 FROM %s AS e WHERE e.seq = p.seq);", table, s.t.Outbox)
		}
		l.Fix = remove(s.t.Pending) + " " + remove(s.t.Deliveries)
	}
	return l, wrap("look for what was left behind", err)
}
