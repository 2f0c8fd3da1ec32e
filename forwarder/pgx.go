package forwarder

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/jackc/pgx/v5"
)

// Pgx makes a native pgx transaction fit for [NewPublisher]:
//
//	publisher, err := forwarder.NewPublisher(forwarder.Pgx(tx), forwarder.PublisherConfig{}, logger)
//
// It can execute only; its Query methods fail.
func Pgx(tx pgx.Tx) wmsql.ContextExecutor { return pgxTx{tx} }

type pgxTx struct{ tx pgx.Tx }

var errPgxQuery = errors.New("a pgx transaction in forwarder.Pgx can execute, not query")

func (p pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := p.tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

func (p pgxTx) Exec(query string, args ...any) (sql.Result, error) {
	return p.ExecContext(context.Background(), query, args...)
}

func (pgxTx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errPgxQuery
}
func (pgxTx) Query(string, ...any) (*sql.Rows, error)                  { return nil, errPgxQuery }
func (pgxTx) QueryRowContext(context.Context, string, ...any) *sql.Row { return nil }
func (pgxTx) QueryRow(string, ...any) *sql.Row                         { return nil }
