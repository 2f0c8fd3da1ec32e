package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// ErrGroupConflict is returned by [Store.Join] when a living forwarder serves some of the same events under another definition.
var ErrGroupConflict = errors.New("forwarder group conflict")

// ErrNotMember is returned by [Store.Renew] when the forwarder was declared dead, so that its slots may have other owners.
var ErrNotMember = errors.New("forwarder is no member of its group any more")

// Lease is one slot that a forwarder owns, and the epoch it owns it in.
type Lease struct {
	Slot  int
	Epoch int64
}

// Join makes forwarder id a member of a group until lease has passed without [Store.Renew].
//
// The error wraps [ErrGroupConflict] when a living member of the group has another filter, or a living member of another group has a
// filter that lets some of the same events through.
func (s *Store) Join(ctx context.Context, group, id string, f Filter, lease time.Duration) error {
	if err := CheckText(group, MaxTarget); err != nil {
		return fmt.Errorf("cannot join a group of this name: %w", err)
	}
	return s.transact(ctx, "join the group of forwarders", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, s.q.seedSlots, group, Slots); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.q.join, id, group, f.text(), lease.Seconds()); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, s.q.others)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name, text string
			if err := rows.Scan(&name, &text); err != nil {
				return err
			}
			var other Filter
			if text != "" {
				if err := json.Unmarshal([]byte(text), &other); err != nil {
					return err
				}
			}
			switch {
			case name == group && text != f.text():
				return fmt.Errorf("%w: group %q runs with filter %s, this forwarder has %s; give them one filter or two names",
					ErrGroupConflict, group, orAll(text), orAll(f.text()))
			case name != group && f.overlaps(other):
				return fmt.Errorf("%w: group %q with filter %s and group %q with filter %s would both send some events; make their filters disjoint",
					ErrGroupConflict, group, orAll(f.text()), name, orAll(text))
			}
		}
		return rows.Err()
	})
}

// text is the form in which filters are stored and compared; empty when f lets everything through.
func (f Filter) text() string {
	if len(f.Tenants) == 0 && len(f.Topics) == 0 {
		return ""
	}
	sorted := Filter{Tenants: slices.Sorted(slices.Values(f.Tenants)), Topics: slices.Sorted(slices.Values(f.Topics))}
	return asJSON(sorted)
}

func orAll(text string) string {
	if text == "" {
		return "of all events"
	}
	return text
}

func (f Filter) overlaps(o Filter) bool {
	meet := func(a, b []string) bool {
		return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	return meet(f.Tenants, o.Tenants) && meet(f.Topics, o.Topics)
}

// Renew makes the lease of forwarder id end lease from now and returns how many slots it owns. The error is [ErrNotMember] when it was declared
// dead before.
func (s *Store) Renew(ctx context.Context, id string, lease time.Duration) (slots int, err error) {
	err = s.db.QueryRowContext(ctx, s.q.renew, id, lease.Seconds()).Scan(&slots)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, ErrNotMember
	}
	return slots, wrap("renew the lease", err)
}

// Owned returns the slots that forwarder id owns.
func (s *Store) Owned(ctx context.Context, id string) ([]Lease, error) {
	return look(ctx, s, "list own slots", s.q.owned, func(rows *sql.Rows) (l Lease, err error) {
		return l, rows.Scan(&l.Slot, &l.Epoch)
	}, id)
}

func scanLeases(rows *sql.Rows) ([]Lease, error) {
	defer rows.Close()
	var leases []Lease
	for rows.Next() {
		var l Lease
		if err := rows.Scan(&l.Slot, &l.Epoch); err != nil {
			return nil, err
		}
		leases = append(leases, l)
	}
	return leases, rows.Err()
}

// Leave ends the membership of forwarder id and releases its slots. Leaving twice is harmless.
func (s *Store) Leave(ctx context.Context, id string) error {
	_, err := s.db.ExecContext(ctx, s.q.leave, id)
	return wrap("leave the group of forwarders", err)
}

// Members declares members of a group dead whose lease has ended, which frees their slots, and returns the living.
func (s *Store) Members(ctx context.Context, group string) ([]string, error) {
	if _, err := s.db.ExecContext(ctx, s.q.reap, group); err != nil {
		return nil, wrap("look after dead forwarders", err)
	}
	return look(ctx, s, "list forwarders", s.q.peers, func(rows *sql.Rows) (id string, err error) {
		var filter string
		return id, rows.Scan(&id, &filter)
	}, group)
}

// Acquire takes up to limit slots of a group that nobody owns, each in a new epoch.
func (s *Store) Acquire(ctx context.Context, group, id string, limit int) ([]Lease, error) {
	var leases []Lease
	err := s.transact(ctx, "acquire slots", func(tx *sqlx.Tx) error {
		rows, err := tx.QueryContext(ctx, s.q.acquire, group, id, limit)
		if err != nil {
			return err
		}
		leases, err = scanLeases(rows)
		return err
	})
	return leases, err
}

// Release gives slots of forwarder id back.
func (s *Store) Release(ctx context.Context, id string, slots []int) error {
	_, err := s.db.ExecContext(ctx, s.q.unown, id, s.ints(slots))
	return wrap("release slots", err)
}

// SlotCount returns how many slots this database deals in: [Slots], or 1 on SQLite.
func (s *Store) SlotCount() int {
	if s.d == dialect.SQLite {
		return 1
	}
	return Slots
}
