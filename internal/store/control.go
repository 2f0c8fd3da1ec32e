package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// ControlKind is what a [Control] is about.
type ControlKind string

// The kinds of controls. Operators pause the first three; forwarders note the last.
const (
	PausedDestination ControlKind = "destination"
	PausedTenant      ControlKind = "tenant"
	PausedKey         ControlKind = "key" // an ordering key as Event.Key returns it, of any tenant
	Unreachable       ControlKind = "unreachable"
)

// Control says that something is not delivered to for now: its deliveries are held, and no attempts are used.
type Control struct {
	Kind   ControlKind `json:"kind"`
	Name   string      `json:"name"`
	Reason string      `json:"reason"`
	Since  time.Time   `json:"since"`
}

// Controls returns everything that is paused or unreachable.
func (s *Store) Controls(ctx context.Context) ([]Control, error) {
	return look(ctx, s, "read what is paused", s.q.controls, func(rows *sql.Rows) (c Control, err error) {
		return c, rows.Scan(&c.Kind, &c.Name, &c.Reason, s.d.TimeScanner(&c.Since))
	})
}

// Pause holds the deliveries of a destination, a tenant or a key until [Store.Resume]. A destination without a topic, such as kafka://, is all of that
// publisher's. Forwarders see it within a second; what is in flight
// ends.
func (s *Store) Pause(ctx context.Context, kind ControlKind, name, reason string) error {
	most := MaxTarget
	if kind == PausedKey {
		most = 2*MaxTarget + 1 // the type and the id of an aggregate
	}
	if err := CheckText(name, most); err != nil {
		return fmt.Errorf("cannot pause a %s of this name: %w", kind, err)
	}
	_, err := s.db.ExecContext(ctx, s.q.setControl, string(kind), name, reason)
	return wrap("pause", err)
}

// Resume ends a pause, and what was held goes on in its order. Resuming what is not paused is harmless.
func (s *Store) Resume(ctx context.Context, kind ControlKind, name string) error {
	_, err := s.db.ExecContext(ctx, s.q.unsetControl, string(kind), name)
	return wrap("resume", err)
}
