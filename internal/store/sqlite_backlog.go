package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (sqlite) backlogQueries(t dialect.Tables) backlogQueries {
	// SQLite has one slot, so a limit per slot is one of the state.
	rows := func(columns string, state State, order, limit string) string {
		return `(SELECT ` + columns + ` FROM ` + t.Deliveries + ` WHERE state = '` + string(state) + `' ORDER BY ` + order + ` LIMIT ` + limit + `)`
	}
	pending := func(limit string) string {
		return `(SELECT seq FROM ` + t.Pending + ` WHERE slot = 0 AND seq >= json_extract(?3, '$[0]') ORDER BY seq LIMIT ` + limit + `)`
	}
	first := func(columns string) string {
		return `(SELECT ` + columns + ` FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT ?2)`
	}
	count := func(rows string) string { return `(SELECT count(*) FROM ` + rows + `)` }
	span := func(where string) string {
		return `COALESCE((SELECT max(seq) FROM ` + t.Deliveries + where + `) + 1 - (SELECT min(seq) FROM ` + t.Deliveries + where + `), 0)`
	}
	const columns = `state, destination, seq, created_at`
	return backlogQueries{
		heads: `SELECT last, COALESCE(first, last + 1), json_array(COALESCE(first, last + 1)), ` + sqlite{}.age("e.created_at") + `
			FROM (SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '` + t.Prefix + `'), 0) AS last,
				(SELECT min(seq) FROM ` + t.Pending + ` WHERE slot = 0) AS first) LEFT JOIN ` + t.Outbox + ` e ON e.seq = first`,
		states: `SELECT ` + count(pending("?1")) + `, ` + count(rows("1", Waiting, "slot, due", "?1")) + `, ` + count(rows("1", Held, "slot, seq", "?1")) + `, ` +
			count(rows("1", Dead, "seq", "?1")) + `, f.skipped, f.n, ` + span("") + `, ` + span(" WHERE slot = 0 AND state = 'held'") + `, ` + span(" WHERE state = 'dead'") + `
			FROM (SELECT count(*) FILTER (WHERE state = 'skipped') AS skipped, count(*) AS n FROM ` + first("state") + `) f`,
		names: `SELECT o.state, o.destination, COALESCE(e.tenant_id, ''), COALESCE(e.topic, ''), count(*), ` + sqlite{}.age("min(COALESCE(o.created_at, e.created_at))") + `
			FROM (SELECT 'pending' AS state, '' AS destination, seq, NULL AS created_at FROM ` + pending("?4") + `
				UNION ALL SELECT * FROM ` + rows(columns, Waiting, "slot, due", "?5") + ` UNION ALL SELECT * FROM ` + rows(columns, Held, "slot, seq", "?6") + `
				UNION ALL SELECT * FROM ` + rows(columns, Dead, "seq", "?1") + `
				UNION ALL SELECT * FROM (SELECT * FROM ` + first(columns) + ` WHERE state = 'skipped' LIMIT ?1)) o
			LEFT JOIN ` + t.Outbox + ` e ON e.seq = o.seq GROUP BY 1, 2, 3, 4`,
		fleet: `SELECT f.id, f.group_name, f.started_at, f.expires_at >= ` + sqliteNow + `,
				(SELECT count(*) FROM ` + t.Slots + ` s WHERE s.group_name = f.group_name AND s.owner = f.id) FROM ` + t.Forwarders + ` f
			UNION ALL SELECT '', group_name, NULL, 0, count(*) FILTER (WHERE owner IS NULL) FROM ` + t.Slots + ` GROUP BY group_name
			ORDER BY 2, 1`,
	}
}
