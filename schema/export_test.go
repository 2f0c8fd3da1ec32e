package schema

// Statements returns the SQL that is run all the time, by name.
func (s *Store) Statements() map[string]string {
	return map[string]string{
		"read": s.q.read, "due": s.q.due, "next due": s.q.nextDue, "done": s.q.done, "ended": s.q.ended, "failed": s.q.failed,
		"release": s.q.release, "still": s.q.still, "hold": s.q.hold,
	}
}
