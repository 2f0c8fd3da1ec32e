package store

import (
	"context"
	"time"
)

// Forwarder is a process that forwards, or did until it died.
type Forwarder struct {
	ID, Group string
	Started   time.Time
	Alive     bool // it has said so within its lease
	Slots     int  // that it owns
}

// Fleet is who forwards.
type Fleet struct {
	Forwarders []Forwarder // by group and id; one that has died stays until another one of its group finds out
	// Free is how many slots of each group nobody owns. A group stays when its last forwarder has left.
	Free map[string]int
}

// Fleet returns who forwards.
func (s *Store) Fleet(ctx context.Context) (Fleet, error) {
	const what = "list the forwarders"
	f := Fleet{Free: map[string]int{}}
	rows, err := s.db.QueryContext(ctx, s.q.backlog.fleet)
	if err != nil {
		return f, wrap(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		var m Forwarder
		if err := rows.Scan(&m.ID, &m.Group, s.d.TimeScanner(&m.Started), &m.Alive, &m.Slots); err != nil {
			return f, wrap(what, err)
		}
		if m.ID == "" {
			f.Free[m.Group] = m.Slots
		} else {
			f.Forwarders = append(f.Forwarders, m)
		}
	}
	return f, wrap(what, rows.Err())
}
