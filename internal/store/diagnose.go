package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Unfinished counts what is left to do of events that were stored long ago. Nothing is counted above a bound.
type Unfinished struct {
	Pending    int64 `json:"pending"`    // events that nobody has looked at
	Deliveries int64 `json:"deliveries"` // waiting and held
	More       bool  `json:"more"`       // there are more than were counted
}

// unfinishedMost is how many of each are counted.
const unfinishedMost = 100_000

// UnfinishedSince counts what is left to do of events that were stored more than age ago. It takes the numbers of events to be in the order of their times.
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

// firstYounger returns the number of the first event that is younger than age, or the one above the last: it bisects, for no index has the order of
// both.
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

// OldestAge returns how long ago the first event that is there was stored, and false when there is none.
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

// Failures returns at most limit deliveries that wait for another attempt, and as many that are dead, the newest events first.
func (s *Store) Failures(ctx context.Context, limit int) ([]Failure, error) {
	rows, err := s.db.QueryContext(ctx, s.q.diagnose.failures, limit)
	if err != nil {
		return nil, wrap("read why deliveries fail", err)
	}
	defer rows.Close()
	var list []Failure
	for rows.Next() {
		var f Failure
		if err := rows.Scan(&f.State, &f.Destination, &f.Attempts, &f.Error); err != nil {
			return nil, wrap("read why deliveries fail", err)
		}
		list = append(list, f)
	}
	return list, wrap("read why deliveries fail", rows.Err())
}

// Holding returns how many dead letters later deliveries of their keys wait for, and how many these are. It looks at the first thousand dead letters that
// may hold a key, and a thousand deliveries behind each.
func (s *Store) Holding(ctx context.Context) (dead, behind int64, err error) {
	err = s.db.QueryRowContext(ctx, s.q.diagnose.holding).Scan(&dead, &behind)
	return dead, behind, wrap("count what dead letters hold", err)
}

// KeyShare is how much of what is pending is of one ordering key.
type KeyShare struct {
	Key  string // as an operator pauses it
	Of   int    // of those looked at, how many are of the key
	Seen int    // how many were looked at, at most 500; on SQLite the oldest, else at even distances
}

// HottestKey returns the ordering key that most pending events have, of those that it looks at. The zero value means that none has one.
func (s *Store) HottestKey(ctx context.Context) (KeyShare, error) {
	var k KeyShare
	err := s.db.QueryRowContext(ctx, s.q.diagnose.hotKey).Scan(&k.Key, &k.Of, &k.Seen)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return k, wrap("look for the hottest key", err)
}

// LongTransaction is one that is open for long: it keeps vacuum from removing rows, of any table.
type LongTransaction struct {
	Age  time.Duration
	Name string // of the process, or the prepared transaction
	End  string // the SQL that ends it
}

// LongTransactions returns transactions of the database server that are open for longer than age, as far as the user may see them, the longest first. With
// holding it leaves out those that keep no rows of this database from being removed.
func (s *Store) LongTransactions(ctx context.Context, age time.Duration, holding bool) ([]LongTransaction, error) {
	if s.q.diagnose.transactions == "" {
		return nil, nil
	}
	rows, err := s.db.QueryContext(ctx, s.q.diagnose.transactions, age.Seconds(), holding)
	if err != nil {
		return nil, wrap("list long transactions", err)
	}
	defer rows.Close()
	var list []LongTransaction
	for rows.Next() {
		var l LongTransaction
		var age float64
		if err := rows.Scan(&age, &l.Name, &l.End); err != nil {
			return nil, wrap("list long transactions", err)
		}
		l.Age = time.Duration(age * float64(time.Second))
		list = append(list, l)
	}
	return list, wrap("list long transactions", rows.Err())
}
