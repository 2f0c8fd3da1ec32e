package store

import (
	"context"
	"database/sql"
	"time"
)

// Forwarder is a forwarder that is alive, or died and was not cleared away yet.
type Forwarder struct {
	ID, Group string
	Started   time.Time
	Alive     bool // its lease has not expired
	Slots     int  // owned
}

// Fleet is all forwarders.
type Fleet struct {
	Forwarders []Forwarder // by group and id; a dead one stays until another one of its group clears it away
	// Free is the number of slots without an owner, by group. A group stays when its last forwarder has left.
	Free map[string]int
}

// Fleet returns all forwarders.
func (s *Store) Fleet(ctx context.Context) (Fleet, error) {
	f := Fleet{Free: map[string]int{}}
	list, err := look(ctx, s, "list the forwarders", s.q.backlog.fleet, func(rows *sql.Rows) (m Forwarder, err error) {
		return m, rows.Scan(&m.ID, &m.Group, s.d.TimeScanner(&m.Started), &m.Alive, &m.Slots)
	})
	for _, m := range list {
		if m.ID == "" {
			f.Free[m.Group] = m.Slots
		} else {
			f.Forwarders = append(f.Forwarders, m)
		}
	}
	return f, err
}
