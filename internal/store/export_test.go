package store

// CleanPlan returns what is run before the statements that clean up.
func (s *Store) CleanPlan() string { return s.q.clean.plan }

// Statements returns the SQL that is run all the time, by name.
func (s *Store) Statements() map[string]string {
	return map[string]string{
		"read": s.q.read, "due": s.q.due, "held": s.q.held, "next due": s.q.nextDue, "done": s.q.done, "ended": s.q.ended, "failed": s.q.failed,
		"release": s.q.release, "still": s.q.still, "hold": s.q.hold,
		"clean renew": s.q.clean.renew, "clean look": s.q.clean.look(s.t.Outbox), "clean remove": s.q.clean.remove(s.t.Outbox), "clean unsent": s.q.clean.unsent + s.q.clean.lock, "clean weigh": s.q.clean.weigh,
		"clean deliveries": s.q.clean.deliveries, "clean events": s.q.clean.events,
		"backlog heads": s.q.backlog.heads, "backlog states": s.q.backlog.states, "backlog names": s.q.backlog.names,
	}
}

// BacklogPlan returns what is run before the statements that count the backlog.
func (s *Store) BacklogPlan() string { return s.q.backlog.plan }
