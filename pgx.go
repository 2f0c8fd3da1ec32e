package outbox

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Pgx returns tx as an [Executor]:
//
//	publisher, err := outbox.NewPublisher(outbox.Pgx(tx), outbox.Config{}, logger)
//
// Publish calls through one Pgx value are serialized. Like tx itself, they must not overlap with any other use of tx, such as through a second Pgx
// value.
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
