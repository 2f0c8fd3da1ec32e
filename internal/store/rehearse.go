package store

import (
	"context"
	"math"

	"github.com/jmoiron/sqlx"
)

// Rehearse runs the statements that read and settle events, with nothing to read and nothing to settle. Its error tells that they would fail now: rights
// were revoked, the database has become read-only, a table is gone or locked.
func (s *Store) Rehearse(ctx context.Context) error {
	if err := unobstructed(ctx, s.db, s.q); err != nil {
		return err
	}
	if _, err := s.Read(ctx, nil, []Range{{After: math.MaxInt64, Limit: 1}}, 0, Filter{}, nil); err != nil {
		return err
	}
	if _, err := s.Due(ctx, nil, 0, 0, 0, Filter{}); err != nil {
		return err
	}
	return s.transact(ctx, "settle", func(tx *sqlx.Tx) error {
		const none = "[]"
		noInts, noStrings := s.d.Ints(nil), s.d.Strs(nil)
		for _, statement := range []struct {
			query string
			args  []any
		}{
			{s.q.fence, []any{"", noInts, noInts}},
			{s.q.done, []any{noInts, noInts}},
			{s.q.ended, []any{noInts, noStrings}},
			{s.q.open, []any{none}},
			{s.q.failed, []any{none}},
		} {
			if _, err := tx.ExecContext(ctx, statement.query, statement.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
