package store

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// Transactions ask for the isolation that the design needs, whatever the database defaults to. Single statements run under its default, for a pooler
// takes no setting of a session and a transaction around each would cost two round trips: above read committed, the database may refuse one that meets
// another. All are run again when the database asks for it.

const (
	retries    = 12
	retryFirst = time.Millisecond
	retryMost  = 100 * time.Millisecond
)

// retry runs f, again when the database asks for it: at once, then after random waits that grow to a tenth of a second, for about half a second.
func retry(ctx context.Context, d dialect.Dialect, f func() error) error {
	for try := 0; ; try++ {
		err := f()
		if err == nil || try == retries || !d.Retryable(err) {
			return err
		}
		if try == 0 {
			continue
		}
		t := time.NewTimer(rand.N(min(retryFirst<<try, retryMost)))
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// retryingDB runs single statements again when the database asks for it.
type retryingDB struct {
	*sqlx.DB
	d dialect.Dialect
}

// ExecContext implements sqlx.ExecerContext.
func (db retryingDB) ExecContext(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	err = retry(ctx, db.d, func() error {
		res, err = db.DB.ExecContext(ctx, query, args...)
		return err
	})
	return res, err
}

// QueryContext implements queryer. What is refused after its first row is not run again.
func (db retryingDB) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = retry(ctx, db.d, func() error {
		rows, err = db.DB.QueryContext(ctx, query, args...) //nolint:rowserrcheck,sqlclosecheck // by the caller
		return err
	})
	return rows, err
}

// QueryRowContext implements queryer.
func (db retryingDB) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	_ = retry(ctx, db.d, func() error {
		row = db.DB.QueryRowContext(ctx, query, args...)
		return row.Err()
	})
	return row
}

// transact runs f in a transaction, again when the database asks for it.
func (s *Store) transact(ctx context.Context, what string, f func(*sqlx.Tx) error) error {
	return wrap(what, retry(ctx, s.d, func() error { return s.once(ctx, f) }))
}

func (s *Store) once(ctx context.Context, f func(*sqlx.Tx) error) error {
	tx, err := s.db.BeginTxx(ctx, s.d.TxOptions())
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if s.q.lockTx != "" {
		if _, err := tx.ExecContext(ctx, s.q.lockTx); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
