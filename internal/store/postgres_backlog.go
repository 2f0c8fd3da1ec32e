package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (postgres) backlogQueries(t dialect.Tables) backlogQueries {
	const everySlot = `generate_series(0, 63) s`
	// perSlot selects rows of each slot by an index, up to a limit per slot and $1 of all.
	perSlot := func(columns string, state State, order, limit string) string {
		return `(SELECT d.* FROM ` + everySlot + ` CROSS JOIN LATERAL (SELECT ` + columns + ` FROM ` + t.Deliveries + ` d
			WHERE d.slot = s::smallint AND d.state = '` + string(state) + `' ORDER BY ` + order + ` LIMIT ` + limit + `::bigint) d LIMIT $1::bigint)`
	}
	pending := func(limit string) string {
		return `(SELECT p.seq FROM unnest($3::bigint[]) WITH ORDINALITY AS s(head, n) CROSS JOIN LATERAL (SELECT seq FROM ` + t.Pending + ` p
			WHERE p.slot = (s.n - 1)::smallint AND p.seq >= s.head ORDER BY p.seq LIMIT ` + limit + `::bigint) p LIMIT $1::bigint)`
	}
	// What is waiting, held or dead is found by the index of its state. Nothing lists skipped ones: they are looked for among the first deliveries.
	first := func(columns string) string {
		return `(SELECT ` + columns + ` FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT $2::bigint)`
	}
	dead := func(columns string) string {
		return `(SELECT ` + columns + ` FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq LIMIT $1::bigint)`
	}
	count := func(rows string) string { return `(SELECT count(*) FROM ` + rows + ` c)` }
	span := func(where string) string {
		return `COALESCE((SELECT seq FROM ` + t.Deliveries + where + ` ORDER BY seq DESC LIMIT 1) + 1 - (SELECT seq FROM ` + t.Deliveries + where + ` ORDER BY seq LIMIT 1), 0)`
	}
	const columns = `state, destination, seq, created_at`
	return backlogQueries{
		plan: `SELECT set_config('jit', 'off', true)`,
		heads: `SELECT last, COALESCE(first, last + 1), heads, extract(epoch FROM clock_timestamp() - (SELECT created_at FROM ` + t.Outbox + ` e WHERE e.seq = first))::float8
			FROM (SELECT q.last, min(h.seq) AS first, json_agg(COALESCE(h.seq, q.last + 1) ORDER BY s)::text AS heads
				FROM (SELECT ` + lastNumber(t) + ` AS last) q CROSS JOIN ` + everySlot + `
				LEFT JOIN LATERAL (SELECT p.seq FROM ` + t.Pending + ` p WHERE p.slot = s::smallint ORDER BY p.seq LIMIT 1) h ON true
				GROUP BY q.last) h`,
		states: `SELECT ` + count(pending("$1")) + `, ` + count(perSlot("1", Waiting, "due", "$1")) + `, ` + count(perSlot("1", Held, "seq", "$1")) + `, ` + count(dead("1")) + `,
				f.skipped, f.n, ` + span("") + `,
				COALESCE((SELECT max(l.last) + 1 - min(l.first) FROM ` + everySlot + ` CROSS JOIN LATERAL (SELECT
					(SELECT seq FROM ` + t.Deliveries + ` d WHERE d.slot = s::smallint AND state = 'held' ORDER BY seq LIMIT 1) AS first,
					(SELECT seq FROM ` + t.Deliveries + ` d WHERE d.slot = s::smallint AND state = 'held' ORDER BY seq DESC LIMIT 1) AS last) l), 0),
				` + span(" WHERE state = 'dead'") + `
			FROM (SELECT count(*) FILTER (WHERE state = 'skipped') AS skipped, count(*) AS n FROM ` + first("state") + ` d) f`,
		names: `SELECT o.state, o.destination, COALESCE(e.tenant_id, ''), COALESCE(e.topic, ''), count(*),
				extract(epoch FROM clock_timestamp() - min(COALESCE(o.created_at, e.created_at)))::float8
			FROM (SELECT 'pending' AS state, '' AS destination, seq, NULL::timestamptz AS created_at FROM ` + pending("$4") + ` p
				UNION ALL SELECT * FROM ` + perSlot(columns, Waiting, "due", "$5") + ` w UNION ALL SELECT * FROM ` + perSlot(columns, Held, "seq", "$6") + ` h
				UNION ALL SELECT * FROM ` + dead(columns) + ` d UNION ALL (SELECT * FROM ` + first(columns) + ` s WHERE state = 'skipped' LIMIT $1::bigint)) o
			LEFT JOIN LATERAL (SELECT tenant_id, topic, created_at FROM ` + t.Outbox + ` e WHERE e.seq = o.seq LIMIT 1) e ON true
			GROUP BY 1, 2, 3, 4`,
		fleet: `SELECT f.id, f.group_name, f.started_at, f.expires_at >= clock_timestamp(),
				(SELECT count(*) FROM ` + t.Slots + ` s WHERE s.group_name = f.group_name AND s.owner = f.id) FROM ` + t.Forwarders + ` f WHERE ` + standardText + `
			UNION ALL SELECT '', group_name, NULL, false, count(*) FILTER (WHERE owner IS NULL) FROM ` + t.Slots + ` GROUP BY group_name
			ORDER BY 2, 1`,
	}
}
