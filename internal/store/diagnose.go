package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Unfinished counts the unfinished work of events that were stored long ago.
type Unfinished struct {
	Pending    int64 `json:"pending"`    // events before their first pass
	Deliveries int64 `json:"deliveries"` // waiting and held
	More       bool  `json:"more"`       // there are more than were counted
}

// unfinishedMost is the largest count of each.
const unfinishedMost = 100_000

// UnfinishedSince counts the unfinished work of events that were stored more than age ago. It assumes that events are numbered in the order of their times.
func (s *Store) UnfinishedSince(ctx context.Context, age time.Duration) (Unfinished, error) {
	var u Unfinished
	seq, err := s.firstYounger(ctx, age)
	if err != nil {
		return u, err
	}
	if err := s.db.QueryRowContext(ctx, s.q.diagnose.unfinished, seq, unfinishedMost+1).Scan(&u.Pending, &u.Deliveries); err != nil {
		return u, wrap("count old events", err)
	}
	u.More = u.Pending > unfinishedMost || u.Deliveries > unfinishedMost
	u.Pending, u.Deliveries = min(u.Pending, unfinishedMost), min(u.Deliveries, unfinishedMost)
	return u, nil
}

// firstYounger returns the number of the first event that is younger than age, or the one above the last. It bisects, because no index has both.
func (s *Store) firstYounger(ctx context.Context, age time.Duration) (int64, error) {
	mark, err := s.Ask(ctx)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), mark.Last+1 // what is below low is old; what is at high and above is young, or not there
	for low < high {
		middle := low + (high-low)/2
		var seq int64
		var old bool
		err := s.db.QueryRowContext(ctx, s.q.diagnose.ageFrom, middle, age.Seconds()).Scan(&seq, &old)
		switch {
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return 0, wrap("look for old events", err)
		case err == nil && old:
			low = seq + 1
		default:
			high = middle
		}
	}
	return low, nil
}

// OldestAge returns the age of the oldest event in the table, and false if there is none.
func (s *Store) OldestAge(ctx context.Context) (time.Duration, bool, error) {
	var age sql.NullFloat64
	err := s.db.QueryRowContext(ctx, s.q.diagnose.oldest).Scan(&age)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return seconds(age), age.Valid, wrap("look at the oldest event", err)
}

// Failure is a delivery that failed at least once, and why.
type Failure struct {
	State       State // waiting or dead
	Destination string
	Attempts    int    // that counted; 0 when the destination could not be reached
	Error       string // at most 1000 characters
}

// Failures returns at most limit deliveries that wait for another attempt, and at most limit dead ones, the newest events first.
func (s *Store) Failures(ctx context.Context, limit int) ([]Failure, error) {
	return look(ctx, s, "read why deliveries fail", s.q.diagnose.failures, func(rows *sql.Rows) (f Failure, err error) {
		return f, rows.Scan(&f.State, &f.Destination, &f.Attempts, &f.Error)
	}, limit)
}

// Holding returns the number of dead letters that hold back later deliveries of their keys, and the number of these deliveries. It reads the first
// thousand dead letters that may hold a key, and a thousand deliveries behind each.
func (s *Store) Holding(ctx context.Context) (dead, behind int64, err error) {
	err = s.db.QueryRowContext(ctx, s.q.diagnose.holding).Scan(&dead, &behind)
	return dead, behind, wrap("count what dead letters hold", err)
}

// KeyShare is the share of an ordering key in the pending events.
type KeyShare struct {
	Key  string // as an operator pauses it
	Of   int    // events of the key, among those seen
	Seen int    // at most 500: on SQLite the oldest, else at even distances
}

// HottestKey returns the ordering key with the most pending events, among at most 500 of them. The zero value means that none has a key.
func (s *Store) HottestKey(ctx context.Context) (KeyShare, error) {
	var k KeyShare
	err := s.db.QueryRowContext(ctx, s.q.diagnose.hotKey).Scan(&k.Key, &k.Of, &k.Seen)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return k, wrap("look for the hottest key", err)
}

// LongTransaction is a transaction that has been open for long. It keeps vacuum from removing rows of any table.
type LongTransaction struct {
	Age  time.Duration
	Name string // of the process, or the prepared transaction
	End  string // the SQL that ends it
}

// LongTransactions returns transactions of the server that have been open for longer than age, as far as the user may see them, the longest first. If
// holding is set, it returns only those that keep rows of this database from being removed.
func (s *Store) LongTransactions(ctx context.Context, age time.Duration, holding bool) ([]LongTransaction, error) {
	return look(ctx, s, "list long transactions", s.q.diagnose.transactions, func(rows *sql.Rows) (l LongTransaction, err error) {
		var age float64
		err = rows.Scan(&age, &l.Name, &l.End)
		l.Age = time.Duration(age * float64(time.Second))
		return l, err
	}, age.Seconds(), holding)
}
