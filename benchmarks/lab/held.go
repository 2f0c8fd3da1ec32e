package lab

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// held is ours when a destination that was out of reach is back: all events have had their first pass, and their deliveries are held.
func held() system {
	s := oursBy(forward)
	s.tables = "held"
	s.prepare = holdAll
	return s
}

// holdAll turns what is pending into deliveries that are held.
func holdAll(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT DISTINCT aggregate_type || ':' || aggregate_id FROM outbox`)
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	hashes := make([]int64, len(keys))
	for i, key := range keys {
		hashes[i] = store.KeyHash("", key)
	}
	_, err = conn.Exec(ctx, `INSERT INTO outbox_deliveries (seq, target, slot, key_hash, destination, state)
		SELECT e.seq, $3, e.slot, k.hash, $3, 'held' FROM outbox e JOIN unnest($1::text[], $2::bigint[]) AS k(key, hash)
		ON k.key = e.aggregate_type || ':' || e.aggregate_id`, keys, hashes, backlog.Topic)
	if err != nil {
		return fmt.Errorf("hold all deliveries: %w", err)
	}
	for _, query := range []string{`TRUNCATE outbox_pending`, `VACUUM (ANALYZE)`} {
		if _, err := conn.Exec(ctx, query); err != nil {
			return err
		}
	}
	return nil
}
