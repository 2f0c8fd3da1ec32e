package outbox

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Pgx makes a native pgx transaction fit for [NewPublisher]:
//
//	publisher, err := outbox.NewPublisher(outbox.Pgx(tx), outbox.Config{}, logger)
//
// A pgx transaction is one connection and not safe for concurrent use. Publish calls through one Pgx value take turns; they must not overlap with
// other uses of tx, nor with those of a second Pgx value of it.
func Pgx(tx pgx.Tx) Executor { return &pgxTx{tx: tx} }

type pgxTx struct {
	mu sync.Mutex
	tx pgx.Tx
}

func (p *pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tag, err := p.tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}
