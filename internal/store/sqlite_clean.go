package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (sqlite) cleanQueries(t dialect.Tables) cleanQueries {
	const later = `strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', printf('%+.3f seconds', ?2))`
	const weekAgo = `strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-7 days')`
	return cleanQueries{
		last: `SELECT CASE WHEN expires_at > ` + sqliteNow + ` THEN owner ELSE '' END, started_at, finished_at, COALESCE(sent, 0), COALESCE(skipped, 0),
			COALESCE(dead, 0), ` + sqliteNow + ` FROM (SELECT 1) one LEFT JOIN ` + t.Cleanup + ` ON true`,
		begin: `INSERT INTO ` + t.Cleanup + ` AS c (id, owner, expires_at, started_at) VALUES (1, ?1, ` + later + `, ` + sqliteNow + `)
			ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at, started_at = excluded.started_at,
				floor = CASE WHEN c.floor_since < ` + weekAgo + ` THEN 0 ELSE c.floor END,
				floor_since = CASE WHEN c.floor_since < ` + weekAgo + ` THEN ` + sqliteNow + ` ELSE c.floor_since END
				WHERE c.owner = '' OR c.expires_at < ` + sqliteNow + `
			RETURNING ` + sqliteNow + `, floor`,
		renew: `UPDATE ` + t.Cleanup + ` SET expires_at = ` + later + `, floor = ?3 WHERE owner = ?1`,
		end: `UPDATE ` + t.Cleanup + ` SET owner = '', floor = ?2, finished_at = CASE WHEN ?3 THEN ` + sqliteNow + ` ELSE finished_at END,
			sent = CASE WHEN ?3 THEN ?4 ELSE sent END, skipped = CASE WHEN ?3 THEN ?5 ELSE skipped END,
			dead = CASE WHEN ?3 THEN ?6 ELSE dead END WHERE owner = ?1`,

		look: func(table string) string {
			// What hangs on the events is read once, not looked up for each of them.
			until := `(SELECT max(seq) FROM (SELECT seq FROM ` + table + ` WHERE seq > ?1 ORDER BY seq LIMIT ?2))`
			return `SELECT l.seq, COALESCE((julianday(l.created_at) - 2440587.5) * 86400.0, 0.0), l.created_at < ?3,
				l.created_at < ?3 AND (?4 IS NULL OR l.tenant_id IN (SELECT value FROM json_each(?4)))
				AND l.seq NOT IN (SELECT p.seq FROM ` + t.Pending + ` p WHERE p.slot = 0 AND p.seq > ?1 AND p.seq <= ` + until + `)
				AND l.seq NOT IN (SELECT d.seq FROM ` + t.Deliveries + ` d WHERE d.seq > ?1 AND d.seq <= ` + until + `)
			FROM ` + table + ` l WHERE l.seq > ?1 ORDER BY l.seq LIMIT ?2`
		},
		rest:   `DELETE FROM ` + t.Outbox + ` WHERE seq BETWEEN ?2 AND ?3 AND seq NOT IN (SELECT value FROM json_each(?1))`,
		unsent: `SELECT seq FROM ` + t.Deliveries + ` WHERE seq > ?1 AND state IN (SELECT value FROM json_each(?3)) ORDER BY seq, target LIMIT ?2`,
		lock:   ``, // one writer
		weigh: `SELECT e.seq, max(d.state = 'dead'),
				COALESCE(max(d.updated_at) < CASE WHEN max(d.state = 'dead') THEN ?3 ELSE ?2 END, 0)
					AND (?4 IS NULL OR e.tenant_id IN (SELECT value FROM json_each(?4))),
				NOT max(d.state IN ('waiting', 'held')) AND NOT EXISTS (SELECT 1 FROM ` + t.Pending + ` p WHERE p.slot = e.slot AND p.seq = e.seq),
				max(d.state = 'dead' AND d.key_hash IS NOT NULL)
			FROM json_each(?1) x JOIN ` + t.Outbox + ` e ON e.seq = x.value JOIN ` + t.Deliveries + ` d ON d.seq = e.seq GROUP BY e.seq`,
		deliveries: `DELETE FROM ` + t.Deliveries + ` WHERE seq IN (SELECT value FROM json_each(?1))`,
		events:     `DELETE FROM ` + t.Outbox + ` WHERE seq IN (SELECT value FROM json_each(?1)) AND seq BETWEEN ?2 AND ?3`,
	}
}
