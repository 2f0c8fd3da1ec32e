package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (sqlite) diagnoseQueries(t dialect.Tables) diagnoseQueries {
	return diagnoseQueries{
		ageFrom: `SELECT seq, created_at < strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', printf('-%.3f seconds', ?2)) FROM ` + t.Outbox + ` WHERE seq >= ?1 ORDER BY seq LIMIT 1`,
		oldest: `SELECT (julianday('now') - julianday(created_at)) * 86400.0 FROM ` + t.Outbox + `
			WHERE seq > COALESCE((SELECT floor FROM ` + t.Cleanup + `), 0) ORDER BY seq LIMIT 1`,
		unfinished: `SELECT (SELECT count(*) FROM (SELECT 1 FROM ` + t.Pending + ` WHERE slot = 0 AND seq < ?1 LIMIT ?2)),
			(SELECT count(*) FROM (SELECT 1 FROM ` + t.Deliveries + ` WHERE seq < ?1 AND state IN ('waiting', 'held') LIMIT ?2))`,
		failures: `SELECT * FROM (SELECT state, destination, attempts, substr(error, 1, 1000) FROM ` + t.Deliveries + ` WHERE state = 'waiting' AND error <> '' ORDER BY seq DESC LIMIT ?1)
			UNION ALL SELECT * FROM (SELECT state, destination, attempts, substr(error, 1, 1000) FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq DESC LIMIT ?1)`,
		holding: holding(t),
		hotKey: `WITH seen AS (SELECT e.tenant_id, COALESCE(COALESCE(e.aggregate_type, '') || ':' || NULLIF(e.aggregate_id, ''), NULLIF(e.ordering_key, '')) AS key
				FROM (SELECT seq FROM ` + t.Pending + ` WHERE slot = 0 ORDER BY seq LIMIT 500) p JOIN ` + t.Outbox + ` e USING (seq))
			SELECT key, count(*), (SELECT count(*) FROM seen) FROM seen WHERE key IS NOT NULL GROUP BY tenant_id, key ORDER BY 2 DESC, 1 LIMIT 1`,
		triggers: `SELECT name, true, true FROM sqlite_master WHERE type = 'trigger' AND '"' || tbl_name || '"' = '` + t.Outbox + `'`,
		leftovers: `SELECT (SELECT count(*) FROM (SELECT seq FROM ` + t.Pending + ` WHERE slot = 0 ORDER BY seq LIMIT ?1) p
				WHERE NOT EXISTS (SELECT 1 FROM ` + t.Outbox + ` e WHERE e.seq = p.seq)),
			(SELECT count(*) FROM (SELECT seq FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT ?1) d
				WHERE NOT EXISTS (SELECT 1 FROM ` + t.Outbox + ` e WHERE e.seq = d.seq))`,
	}
}
