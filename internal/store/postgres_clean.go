package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (postgres) cleanQueries(t dialect.Tables) cleanQueries {
	// Scalar subqueries with LIMIT are looked up one by one; EXISTS becomes a join, which may read a whole table.
	look := func(table, place string) string {
		return `SELECT l.seq, extract(epoch FROM GREATEST(LEAST(l.created_at, $3::timestamptz), 'epoch'))::float8 AS at, l.created_at < $3::timestamptz AS old,
				l.created_at < $3::timestamptz AND ($4::text[] IS NULL OR l.tenant_id = ANY ($4::text[]))
				AND (SELECT 1 FROM ` + t.Pending + ` p WHERE p.slot = l.slot AND p.seq = l.seq LIMIT 1) IS NULL
				AND (SELECT 1 FROM ` + t.Deliveries + ` d WHERE d.seq = l.seq LIMIT 1) IS NULL AS finished` + place + `
			FROM (SELECT seq, slot, tenant_id, created_at, ctid AS place FROM ` + table + ` WHERE seq > $1::bigint ORDER BY seq LIMIT $2::int) l WHERE ` + standardText + ` ORDER BY l.seq`
	}
	return cleanQueries{
		last: `SELECT CASE WHEN expires_at > clock_timestamp() THEN owner ELSE '' END, started_at, finished_at, COALESCE(sent, 0), COALESCE(skipped, 0),
			COALESCE(dead, 0), clock_timestamp() FROM (SELECT 1) one LEFT JOIN ` + t.Cleanup + ` ON true WHERE ` + standardText,
		begin: `WITH begun AS (INSERT INTO ` + t.Cleanup + ` AS c (id, owner, expires_at, started_at)
			VALUES (1, $1::text, clock_timestamp() + make_interval(secs => $2::float8), clock_timestamp())
			ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at, started_at = excluded.started_at,
				floor = CASE WHEN c.floor_since < clock_timestamp() - interval '7 days' THEN 0 ELSE c.floor END,
				floor_since = CASE WHEN c.floor_since < clock_timestamp() - interval '7 days' THEN clock_timestamp() ELSE c.floor_since END
				WHERE c.owner = '' OR c.expires_at < clock_timestamp()
			RETURNING floor) SELECT clock_timestamp(), floor FROM begun WHERE ` + standardText,
		renew: `UPDATE ` + t.Cleanup + ` SET expires_at = clock_timestamp() + make_interval(secs => $2::float8), floor = $3::bigint WHERE owner = $1::text`,
		end: `UPDATE ` + t.Cleanup + ` SET owner = '', floor = $2::bigint, finished_at = CASE WHEN $3::bool THEN clock_timestamp() ELSE finished_at END,
			sent = CASE WHEN $3::bool THEN $4::bigint ELSE sent END, skipped = CASE WHEN $3::bool THEN $5::bigint ELSE skipped END,
			dead = CASE WHEN $3::bool THEN $6::bigint ELSE dead END WHERE owner = $1::text`,

		// Every batch walks along an index from where the last one ended, whatever the statistics make of it. What is switched off only costs
		// much, so that an unavoidable scan of a tiny table would be compiled, which takes half a second.
		plan: `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
			set_config('jit', 'off', true), set_config('watermill_outbox.cleaning', 'on', true)`,
		look: func(table string) string { return look(table, ``) },
		// In one statement, so that what was looked at is still in its place.
		remove: func(table string) string {
			return `WITH looked AS MATERIALIZED (` + look(table, `, l.place`) + `),
				gone AS (DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(SELECT place FROM looked WHERE finished)))
				SELECT seq, at, old, finished FROM looked ORDER BY seq`
		},
		whole:  `SELECT relkind <> 'p' FROM pg_class WHERE oid = '` + t.Outbox + `'::regclass`,
		unsent: `SELECT seq FROM ` + t.Deliveries + ` WHERE seq > $1::bigint AND state = ANY ($3::text[]) ORDER BY seq, target LIMIT $2::int`,
		lock:   ` FOR UPDATE`,
		weigh: `SELECT x.seq, d.dead, d.at < CASE WHEN d.dead THEN $3::timestamptz ELSE $2::timestamptz END IS TRUE
					AND ($4::text[] IS NULL OR e.tenant_id = ANY ($4::text[])),
				NOT d.open AND (SELECT 1 FROM ` + t.Pending + ` p WHERE p.slot = e.slot AND p.seq = x.seq LIMIT 1) IS NULL, d.holds
			FROM unnest($1::bigint[]) AS x(seq)
			CROSS JOIN LATERAL (SELECT slot, tenant_id FROM ` + t.Outbox + ` e WHERE e.seq = x.seq LIMIT 1) e
			CROSS JOIN LATERAL (SELECT bool_or(state = 'dead') AS dead, bool_or(state IN ('waiting', 'held')) AS open,
				bool_or(state = 'dead' AND key_hash IS NOT NULL) AS holds, max(updated_at) AS at
				FROM (SELECT state, key_hash, updated_at FROM ` + t.Deliveries + ` d WHERE d.seq = x.seq OFFSET 0) d HAVING count(*) > 0) d`,
		deliveries: `DELETE FROM ` + t.Deliveries + ` WHERE seq = ANY ($1::bigint[])`,
		events:     `DELETE FROM ` + t.Outbox + ` WHERE seq = ANY ($1::bigint[]) AND seq BETWEEN $2::bigint AND $3::bigint`,
	}
}
