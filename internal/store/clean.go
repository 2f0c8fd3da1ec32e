package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
)

// ErrCleanupRunning is returned by [Store.BeginCleanup] while somebody else is cleaning up.
var ErrCleanupRunning = errors.New("another clean-up is running")

// ErrCleanupLost is returned by the methods of a clean-up whose lease has ended, so that somebody else may be cleaning up.
var ErrCleanupLost = errors.New("the clean-up was taken over")

// Removed counts events that a clean-up removed, by their status.
type Removed struct {
	Sent    int64 `json:"sent"`
	Skipped int64 `json:"skipped"`
	Dead    int64 `json:"dead"`
}

// Total is the sum of all.
func (r Removed) Total() int64 { return r.Sent + r.Skipped + r.Dead }

// Cleanup is what is known of the last clean-up. Times are zero when there has been none.
type Cleanup struct {
	Owner      string // who is cleaning up now; empty when nobody is
	StartedAt  time.Time
	FinishedAt time.Time // of the last that came to its end; earlier than StartedAt while one runs, or when one was interrupted
	Removed    Removed   // by the last that came to its end
	Now        time.Time // by the clock of the database
}

// LastCleanup tells about the last clean-up.
func (s *Store) LastCleanup(ctx context.Context) (Cleanup, error) {
	var c Cleanup
	err := s.db.QueryRowContext(ctx, s.q.clean.last).Scan(&c.Owner, s.d.TimeScanner(&c.StartedAt), s.d.TimeScanner(&c.FinishedAt),
		&c.Removed.Sent, &c.Removed.Skipped, &c.Removed.Dead, s.d.TimeScanner(&c.Now))
	return c, wrap("read about the last clean-up", err)
}

// BeginCleanup makes owner the only one who cleans up, until lease has passed without a batch or [Store.EndCleanup] is called. It returns the time
// by the clock of the database, and the number of the event at which to begin: none is left at it and below. Once a week that is 0, for
// the sake of an event that was committed after a clean-up had passed it. The error wraps [ErrCleanupRunning] when there is another.
func (s *Store) BeginCleanup(ctx context.Context, owner string, lease time.Duration) (now time.Time, floor int64, err error) {
	err = s.db.QueryRowContext(ctx, s.q.clean.begin, owner, lease.Seconds()).Scan(s.d.TimeScanner(&now), &floor)
	if !errors.Is(err, sql.ErrNoRows) {
		return now, floor, wrap("begin a clean-up", err)
	}
	last, err := s.LastCleanup(ctx)
	if err != nil {
		return now, 0, err
	}
	if last.Owner == "" {
		last.Owner = "it has just ended"
	}
	return now, 0, fmt.Errorf("%w: %s, since %s", ErrCleanupRunning, last.Owner, last.StartedAt.UTC().Format(time.RFC3339))
}

// EndCleanup ends the clean-up of owner, so that another may begin. No event is left at floor and below. With done, it came to its
// end, and removed is kept for people to see. Ending one that has ended is harmless.
func (s *Store) EndCleanup(ctx context.Context, owner string, floor int64, removed Removed, done bool) error {
	_, err := s.db.ExecContext(ctx, s.q.clean.end, owner, floor, done, removed.Sent, removed.Skipped, removed.Dead)
	return wrap("end the clean-up", err)
}

// CleanupBatch says what one batch of a clean-up looks at, and what of it is removed.
type CleanupBatch struct {
	Owner string        // from [Store.BeginCleanup]; empty removes nothing, and only counts
	Lease time.Duration // from now
	Floor int64         // no event is left at it and below
	After int64         // looks at events above
	Limit int           // looks at so many events, or deliveries
	Only  *Partition    // looks in this partition only, for sent events
	// Tenants whose events may be removed. Empty means all.
	Tenants []string
	// Sent events that were stored before it may be removed, and events that were skipped or died before Skipped and Dead. Zero keeps all
	// of that status.
	Sent, Skipped, Dead time.Time
}

// CleanedBatch is what a batch found and removed.
type CleanedBatch struct {
	Looked  int     // events, or deliveries, that were looked at; fewer than the limit at the end of the table
	Old     int     // of these old enough, whatever else keeps them
	Removed Removed // those that would be, without an owner
	Held    int64   // dead events that are old enough, and stay because later events of their key wait for them
	Last    int64   // the number of the last event looked at
	Kept    int64   // the number of the first event that was looked at and stays; 0 when none does
	At      time.Time
}

// CleanSent looks at the next events, and removes those that are finished, delivered to everybody who wanted them, and old enough. What is pending,
// waiting, held, skipped or dead stays. At is when the last event looked at was stored, if it is old enough.
func (s *Store) CleanSent(ctx context.Context, b CleanupBatch) (CleanedBatch, error) {
	var c CleanedBatch
	err := s.cleanup(ctx, b, "clean sent events up", func(tx *sqlx.Tx) error {
		c = CleanedBatch{}
		tenants, _ := s.filterArgs(Filter{Tenants: b.Tenants})
		table := s.t.Outbox
		if b.Only != nil {
			table = b.Only.quoted()
		}
		query, removes := s.q.clean.look, b.Owner != "" && s.q.clean.remove != nil
		if removes && b.Only == nil { // partitions have places of the same name
			if err := tx.QueryRowContext(ctx, s.q.clean.whole).Scan(&removes); err != nil {
				return err
			}
		}
		if removes {
			query = s.q.clean.remove
		}
		rows, err := tx.QueryContext(ctx, query(table), b.After, b.Limit, s.d.Time(b.Sent), tenants)
		if err != nil {
			return err
		}
		defer rows.Close()
		var over, kept []int64
		for rows.Next() {
			var at float64
			var old, finished bool
			if err := rows.Scan(&c.Last, &at, &old, &finished); err != nil {
				return err
			}
			c.Looked++
			if old {
				c.Old++
				c.At = time.UnixMicro(int64(at * 1e6))
			}
			if finished {
				over = append(over, c.Last)
			} else {
				kept = append(kept, c.Last)
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		c.Removed.Sent = int64(len(over))
		if len(kept) > 0 {
			c.Kept = kept[0]
		}
		if b.Owner == "" || len(over) == 0 || removes {
			return nil
		}
		if s.q.clean.rest != "" {
			_, err = tx.ExecContext(ctx, s.q.clean.rest, s.d.Ints(kept), over[0], over[len(over)-1])
			return err
		}
		_, err = tx.ExecContext(ctx, s.q.clean.events, s.d.Ints(over), over[0], over[len(over)-1])
		return err
	})
	return c, err
}

// CleanUnsent looks at the next deliveries that were skipped or are dead, and removes the events of which nothing else is left and that are old
// enough. A dead event stays while later events of its key wait for it.
func (s *Store) CleanUnsent(ctx context.Context, b CleanupBatch) (CleanedBatch, error) {
	var c CleanedBatch
	var states []string
	if !b.Skipped.IsZero() {
		states = append(states, string(Skipped))
	}
	if !b.Dead.IsZero() {
		states = append(states, string(Dead))
	}
	if len(states) == 0 {
		return c, nil
	}
	err := s.cleanup(ctx, b, "clean skipped and dead events up", func(tx *sqlx.Tx) error {
		c = CleanedBatch{}
		// Who replays or discards one of them meanwhile waits, or is waited for.
		query := s.q.clean.unsent
		if b.Owner != "" {
			query += s.q.clean.lock
		}
		seqs, n, err := seqList(ctx, tx, query, b.After, b.Limit, s.d.Strs(states))
		if err != nil || n == 0 {
			return err
		}
		c.Looked, c.Last = n, seqs[len(seqs)-1]
		tenants, _ := s.filterArgs(Filter{Tenants: b.Tenants})
		rows, err := tx.QueryContext(ctx, s.q.clean.weigh, s.d.Ints(seqs), s.d.Time(b.Skipped), s.d.Time(b.Dead), tenants)
		if err != nil {
			return err
		}
		defer rows.Close()
		var over []int64
		for rows.Next() {
			var seq int64
			var dead, old, finished, holds bool
			if err := rows.Scan(&seq, &dead, &old, &finished, &holds); err != nil {
				return err
			}
			switch {
			case !old:
				continue
			case finished && holds:
				c.Held++
			case finished && dead:
				c.Removed.Dead++
				over = append(over, seq)
			case finished:
				c.Removed.Skipped++
				over = append(over, seq)
			}
			c.Old++
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if b.Owner == "" || len(over) == 0 {
			return nil
		}
		slices.Sort(over)
		if _, err := tx.ExecContext(ctx, s.q.clean.deliveries, s.d.Ints(over)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.q.clean.events, s.d.Ints(over), over[0], over[len(over)-1])
		return err
	})
	return c, err
}

// cleanup runs f in a transaction that holds the lease of b's owner, if it has one.
func (s *Store) cleanup(ctx context.Context, b CleanupBatch, what string, f func(*sqlx.Tx) error) error {
	return s.transact(ctx, what, func(tx *sqlx.Tx) error {
		if s.q.clean.plan != "" {
			if _, err := tx.ExecContext(ctx, s.q.clean.plan); err != nil {
				return err
			}
		}
		if b.Owner != "" {
			res, err := tx.ExecContext(ctx, s.q.clean.renew, b.Owner, b.Lease.Seconds(), b.Floor)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, ErrCleanupLost)
			}
		}
		return f(tx)
	})
}

// seqList returns the distinct numbers that query returns in order, and how many rows there were.
func seqList(ctx context.Context, tx *sqlx.Tx, query string, args ...any) (list []int64, n int, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, 0, err
		}
		if n++; len(list) == 0 || list[len(list)-1] != seq {
			list = append(list, seq)
		}
	}
	return list, n, rows.Err()
}
