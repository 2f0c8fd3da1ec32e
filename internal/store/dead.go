package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// DeadFilter says which dead letters are meant. The zero value means all; what is set must all hold.
type DeadFilter struct {
	Seqs         []int64 // of the events
	Tenant       string
	Topic        string
	Target       string
	Destination  string
	Error        string    // a part of the cause
	Since, Until time.Time // when it died, Until excluded
}

// DeadLetter is a delivery that gave up.
type DeadLetter struct {
	Seq           int64     `json:"seq"`
	Target        string    `json:"target"`
	Destination   string    `json:"destination"` // the fallback's, when that gave up too
	Attempts      int       `json:"attempts"`
	Error         string    `json:"error"`
	HoldsKey      bool      `json:"holds_key"` // later events of its key wait for it
	FailedAt      time.Time `json:"failed_at"` // first
	DiedAt        time.Time `json:"died_at"`
	EventID       string    `json:"id"`
	TenantID      string    `json:"tenant_id"`
	Topic         string    `json:"topic"`
	AggregateType string    `json:"aggregate_type"`
	AggregateID   string    `json:"aggregate_id"`
	CreatedAt     time.Time `json:"created_at"` // of the event
	PayloadSize   int       `json:"payload_size"`
}

// Dead returns at most limit dead letters by event number and target, those after the given one; nil begins at the first.
func (s *Store) Dead(ctx context.Context, f DeadFilter, after *DeadLetter, limit int) ([]DeadLetter, error) {
	list, _, err := s.deadPage(ctx, f, after, limit)
	return list, err
}

// deadPage is Dead, and returns the key that each holds as well.
func (s *Store) deadPage(ctx context.Context, f DeadFilter, after *DeadLetter, limit int) (list []DeadLetter, keys []*HeldKey, err error) {
	var seqs any
	if len(f.Seqs) > 0 {
		seqs = s.d.Ints(f.Seqs)
	}
	seq, target := int64(0), ""
	if after != nil {
		seq, target = after.Seq, after.Target
	}
	rows, err := s.db.QueryContext(ctx, s.q.dead, seqs, dialect.Null(f.Tenant), dialect.Null(f.Topic), dialect.Null(f.Target), dialect.Null(f.Destination), dialect.Null(f.Error),
		s.d.Time(f.Since), s.d.Time(f.Until), seq, target, limit)
	if err != nil {
		return nil, nil, wrap("list dead letters", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d DeadLetter
		var slot int
		var key *int64
		if err := rows.Scan(&d.Seq, &d.Target, &slot, &key, &d.Destination, &d.Attempts, &d.Error, s.d.TimeScanner(&d.FailedAt),
			s.d.TimeScanner(&d.DiedAt), &d.EventID, &d.TenantID, &d.Topic, &d.AggregateType, &d.AggregateID, s.d.TimeScanner(&d.CreatedAt),
			&d.PayloadSize); err != nil {
			return nil, nil, wrap("list dead letters", err)
		}
		var held *HeldKey
		if d.HoldsKey = key != nil; d.HoldsKey {
			held = &HeldKey{Slot: slot, Target: d.Target, KeyHash: *key}
		}
		list, keys = append(list, d), append(keys, held)
	}
	return list, keys, wrap("list dead letters", rows.Err())
}

// Replay makes dead letters due again with no attempts used, in batches, and returns how many. Targets of the same events that were delivered are
// not sent to again. One that stands outside the order of its key (on_dead: continue) stays outside; one that holds its key is the next of it.
func (s *Store) Replay(ctx context.Context, f DeadFilter) (int, error) {
	return s.eachDead(ctx, f, "replay dead letters", s.q.replay, false, func(d DeadLetter) Delivery {
		return Delivery{Seq: d.Seq, Target: d.Target}
	})
}

// Discard ends dead letters without a delivery, in batches, and returns how many. Later events of a key that one of them held go on. The events are
// SKIPPED when nothing else is left of them; the cause is kept.
func (s *Store) Discard(ctx context.Context, f DeadFilter) (int, error) {
	return s.eachDead(ctx, f, "discard dead letters", s.q.discard, true, func(d DeadLetter) Delivery {
		return Delivery{Seq: d.Seq, Target: d.Target, Error: "discarded after: " + d.Error}
	})
}

// eachDead runs query on every dead letter that f means, with the row that it is to be. With free, the keys that they hold go on.
func (s *Store) eachDead(ctx context.Context, f DeadFilter, what, query string, free bool, row func(DeadLetter) Delivery) (total int, err error) {
	const batch = 500
	var last *DeadLetter
	for {
		list, keys, err := s.deadPage(ctx, f, last, batch)
		if err != nil || len(list) == 0 {
			return total, err
		}
		last = &list[len(list)-1]
		rows := make([]Delivery, len(list))
		var freed []HeldKey
		var slots []int
		for i, d := range list {
			rows[i] = row(d)
			if free && d.HoldsKey {
				freed = append(freed, *keys[i])
				slots = append(slots, keys[i].Slot)
			}
		}
		var n int64
		err = s.transact(ctx, what, func(tx *sqlx.Tx) error {
			if err := s.guard(ctx, tx, slots); err != nil {
				return err
			}
			res, err := tx.ExecContext(ctx, query, asJSON(rows))
			if err != nil {
				return err
			}
			if n, err = res.RowsAffected(); err != nil {
				return err
			}
			if len(freed) > 0 {
				_, err = tx.ExecContext(ctx, s.q.release, asJSON(freed))
			}
			return err
		})
		if err != nil {
			return total, fmt.Errorf("after %d of them: %w", total, err)
		}
		total += int(n)
	}
}
