package store

import "time"

// CleanPlan returns what is run before the statements that clean up.
func (s *Store) CleanPlan() string { return s.q.clean.plan }

// Statements returns the SQL that is run all the time, by name.
func (s *Store) Statements() map[string]string {
	return map[string]string{
		"read": s.q.read, "due": s.q.due, "held": s.q.held, "next due": s.q.nextDue, "done": s.q.done, "ended": s.q.ended, "failed": s.q.failed,
		"release": s.q.release, "still": s.q.still, "hold": s.q.hold,
		"clean renew": s.q.clean.renew, "clean look": s.q.clean.look(s.t.Outbox), "clean remove": s.q.clean.remove(s.t.Outbox), "clean unsent": s.q.clean.unsent + s.q.clean.lock, "clean weigh": s.q.clean.weigh,
		"clean deliveries": s.q.clean.deliveries, "clean events": s.q.clean.events,
		"heads": s.q.backlog.heads, "count waiting": s.q.backlog.deliveries[Waiting], "count held": s.q.backlog.deliveries[Held],
		"count dead": s.q.backlog.deliveries[Dead], "count skipped": s.q.backlog.deliveries[Skipped], "all deliveries": s.q.backlog.allDeliveries,
		"sample pending": s.q.backlog.samplePending, "sample deliveries": s.q.backlog.sampleDeliveries,
	}
}

// SetHeadsTook pretends that the last look at the first pending entries took so long.
func (s *Store) SetHeadsTook(d time.Duration) { s.heads.took = d }

// SetCountTime replaces how long a statement that counts may take.
func (s *Store) SetCountTime(d time.Duration) { s.countTime = d }
