package store

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

func (postgres) partitionQueries(t dialect.Tables) partitionQueries {
	const mark = `watermill-outbox: detached`
	const columns = `seq, ` + dialect.StoredColumns + `, created_at`
	return partitionQueries{
		list: `SELECT c.relnamespace::regnamespace::text, c.relname, pg_get_expr(c.relpartbound, c.oid), GREATEST(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
				FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '` + t.Outbox + `'::regclass
			UNION ALL SELECT c.relnamespace::regnamespace::text, c.relname, NULL, GREATEST(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
				FROM pg_class c JOIN pg_class o ON o.relnamespace = c.relnamespace AND o.oid = '` + t.Outbox + `'::regclass
				WHERE c.relname LIKE o.relname || E'\\_p%' AND c.relkind = 'r' AND obj_description(c.oid, 'pg_class') = '` + mark + `'`,
		patience: `SELECT set_config('lock_timeout', '100ms', true), set_config('statement_timeout', '10s', true)`,
		adding:   `LOCK TABLE ` + t.Outbox + ` IN SHARE UPDATE EXCLUSIVE MODE`,
		stop:     `LOCK TABLE ` + t.Outbox + ` IN SHARE ROW EXCLUSIVE MODE`,
		lock:     `LOCK TABLE ` + t.Outbox + ` IN ACCESS EXCLUSIVE MODE`,
		kept: `SELECT seq FROM (SELECT p.seq FROM generate_series(0, 63) s CROSS JOIN LATERAL (SELECT seq FROM ` + t.Pending + ` p
					WHERE p.slot = s AND p.seq >= $1::bigint AND p.seq < $2::bigint ORDER BY p.seq LIMIT $3::int) p
				UNION SELECT seq FROM ` + t.Deliveries + ` WHERE seq >= $1::bigint AND seq < $2::bigint) k ORDER BY seq LIMIT $3::int`,

		newer: func(p Partition) string {
			return `SELECT ` + lastNumber(t) + `,
				$1::timestamptz IS NULL OR EXISTS (SELECT 1 FROM ` + p.quoted() + ` WHERE created_at >= $1::timestamptz)`
		},
		// Attaching does not conflict with writers; CREATE TABLE PARTITION OF would.
		add: func(p Partition) []string {
			return []string{
				`CREATE TABLE ` + p.quoted() + ` (LIKE ` + t.Outbox + ` INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE)`,
				fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`, t.Outbox, p.quoted(), p.From, p.To),
			}
		},
		detach: func(p Partition) []string {
			return []string{
				`ALTER TABLE ` + t.Outbox + ` DETACH PARTITION ` + p.quoted(),
				`COMMENT ON TABLE ` + p.quoted() + ` IS '` + mark + `'`,
			}
		},
		// Straight into the partition: what goes through the table becomes pending.
		move: func(from, to Partition) string {
			return `INSERT INTO ` + to.quoted() + ` (` + columns + `) OVERRIDING SYSTEM VALUE SELECT ` + columns + ` FROM ` + from.quoted() + ` WHERE seq = ANY ($1::bigint[])`
		},
		drop: func(p Partition) string { return `DROP TABLE ` + p.quoted() },
	}
}
