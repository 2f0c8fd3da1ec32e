package outbox

import (
	"context"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// notify tells those who listen, when the transaction commits.
func notify(ctx context.Context, db Executor, names schema.Names) error {
	_, err := db.ExecContext(ctx, `SELECT pg_notify($1, '')`, dialect.TablesOf(names.Schema, names.Prefix).Channel())
	return err
}
