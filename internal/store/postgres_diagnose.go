package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (postgres) diagnoseQueries(t dialect.Tables) diagnoseQueries {
	return diagnoseQueries{
		ageFrom: `SELECT seq, created_at < clock_timestamp() - make_interval(secs => $2::float8) FROM ` + t.Outbox + ` WHERE seq >= $1::bigint ORDER BY seq LIMIT 1`,
		oldest: `SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM ` + t.Outbox + `
			WHERE seq > COALESCE((SELECT floor FROM ` + t.Cleanup + `), 0) AND isfinite(created_at) ORDER BY seq LIMIT 1`,
		unfinished: `SELECT (SELECT count(*) FROM (SELECT 1 FROM generate_series(0, 63) s CROSS JOIN LATERAL (SELECT 1 FROM ` + t.Pending + ` p
				WHERE p.slot = s AND p.seq < $1::bigint LIMIT $2::int) p LIMIT $2::int) p),
			(SELECT count(*) FROM (SELECT 1 FROM ` + t.Deliveries + ` WHERE seq < $1::bigint AND state IN ('waiting', 'held') ORDER BY seq, target LIMIT $2::int) d)`,
		failures: `(SELECT state, destination, attempts, left(error, 1000) FROM ` + t.Deliveries + ` WHERE state = 'waiting' AND error <> '' ORDER BY seq DESC LIMIT $1::int)
			UNION ALL (SELECT state, destination, attempts, left(error, 1000) FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq DESC LIMIT $1::int)`,
		holding: holding(t),
		// Events at even distances, those that are pending, and the key that most of them have.
		hotKey: `WITH seen AS (SELECT e.tenant_id, COALESCE(COALESCE(e.aggregate_type, '') || ':' || NULLIF(e.aggregate_id, ''), NULLIF(e.ordering_key, '')) AS key
				FROM (SELECT DISTINCT e.seq FROM generate_series(0, 499) i CROSS JOIN (SELECT min(p.seq) AS first, max(p.last) AS last
						FROM generate_series(0, 63) s CROSS JOIN LATERAL (SELECT (SELECT seq FROM ` + t.Pending + ` p WHERE p.slot = s ORDER BY p.seq LIMIT 1) AS seq,
							(SELECT seq FROM ` + t.Pending + ` p WHERE p.slot = s ORDER BY p.seq DESC LIMIT 1) AS last) p) r
					CROSS JOIN LATERAL (SELECT seq FROM ` + t.Outbox + ` e WHERE e.seq >= r.first + (r.last - r.first) * i / 499 AND e.seq <= r.last ORDER BY e.seq LIMIT 1) e) x
				CROSS JOIN LATERAL (SELECT slot, seq, tenant_id, aggregate_type, aggregate_id, ordering_key FROM ` + t.Outbox + ` e WHERE e.seq = x.seq LIMIT 1) e
				WHERE (SELECT 1 FROM ` + t.Pending + ` p WHERE p.slot = e.slot AND p.seq = e.seq) IS NOT NULL)
			SELECT key, count(*), (SELECT count(*) FROM seen) FROM seen WHERE key IS NOT NULL GROUP BY tenant_id, key ORDER BY 2 DESC, 1 LIMIT 1`,
		triggers: `SELECT tgname, tgenabled IN ('O', 'A'), tgenabled = 'A' FROM pg_trigger WHERE tgrelid = '` + t.Outbox + `'::regclass AND NOT tgisinternal`,
		leftovers: `SELECT (SELECT count(*) FROM generate_series(0, 63) s CROSS JOIN LATERAL (SELECT seq FROM ` + t.Pending + ` p WHERE p.slot = s
				ORDER BY p.seq LIMIT $1::int / 64) p WHERE (SELECT 1 FROM ` + t.Outbox + ` e WHERE e.seq = p.seq LIMIT 1) IS NULL),
			(SELECT count(*) FROM (SELECT seq FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT $1::int) d
				WHERE (SELECT 1 FROM ` + t.Outbox + ` e WHERE e.seq = d.seq LIMIT 1) IS NULL)`,
		deletedRows: `SELECT c.oid::regclass::text, s.n_dead_tup, s.n_live_tup FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid
			WHERE c.oid IN ('` + t.Pending + `'::regclass, '` + t.Deliveries + `'::regclass) ORDER BY c.relname`,
		slots: `SELECT slot_name, CASE WHEN pg_is_in_recovery() OR restart_lsn IS NULL THEN 0 ELSE (pg_current_wal_lsn() - restart_lsn)::bigint END, xmin IS NOT NULL
			FROM pg_replication_slots WHERE NOT active AND NOT temporary ORDER BY slot_name LIMIT 10`,
		// What kind of process another role's is, only pg_read_all_stats sees. Those of clients have a user and a database.
		connections: `SELECT (SELECT count(*) FROM pg_stat_activity WHERE COALESCE(backend_type = 'client backend', usesysid IS NOT NULL AND datid IS NOT NULL)
				AND pid <> pg_backend_pid()), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int -
			COALESCE(current_setting('reserved_connections', true)::int, 0)`,
		transactions: `SELECT extract(epoch FROM clock_timestamp() - since)::float8 AS age, name, ending FROM (
				SELECT xact_start AS since, 'process ' || pid || COALESCE(' of ' || usename, '') || COALESCE(' (' || NULLIF(application_name, '') || ')', '') || ', ' ||
					COALESCE(state, 'unknown') AS name, 'SELECT pg_terminate_backend(' || pid || ');' AS ending
				FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
					AND (NOT $2::bool OR datname = current_database() AND COALESCE(backend_xmin, backend_xid) IS NOT NULL)
				UNION ALL SELECT prepared, 'prepared transaction ' || gid || ' of ' || owner, format('ROLLBACK PREPARED %L;', gid) FROM pg_prepared_xacts
					WHERE NOT $2::bool OR database = current_database()) x
			WHERE since < clock_timestamp() - make_interval(secs => $1::float8) ORDER BY since LIMIT 10`,
	}
}

// holding looks at a thousand dead letters, and at a thousand deliveries behind each.
func holding(t dialect.Tables) string {
	return `SELECT count(CASE WHEN behind > 0 THEN 1 END), COALESCE(CAST(sum(behind) AS bigint), 0) FROM (
			SELECT (SELECT count(*) FROM (SELECT 1 FROM ` + t.Deliveries + ` h WHERE h.slot = d.slot AND h.target = d.target AND h.key_hash = d.key_hash AND h.seq > d.seq
				AND h.state = 'held' LIMIT 1000) h) AS behind
			FROM (SELECT slot, target, key_hash, seq FROM ` + t.Deliveries + ` WHERE state = 'dead' AND key_hash IS NOT NULL ORDER BY seq LIMIT 1000) d) x`
}
