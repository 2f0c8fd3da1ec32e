package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (postgres) backlogQueries(t dialect.Tables) backlogQueries {
	age := func(at string) string { return `extract(epoch FROM clock_timestamp() - ` + at + `)::float8` }
	const everySlot = `(SELECT g::smallint AS slot FROM generate_series(0, 63) g) s`
	// What is open is found by the index of its state. Nothing lists skipped ones: they are looked for as far as the limit reaches.
	perSlot := func(state State, order string) string {
		return `(SELECT d.* FROM ` + everySlot + ` CROSS JOIN LATERAL (SELECT state, destination, seq, created_at FROM ` + t.Deliveries + ` d
			WHERE d.slot = s.slot AND d.state = '` + string(state) + `' ORDER BY ` + order + ` LIMIT $1::bigint) d LIMIT $1::bigint)`
	}
	of := map[State]string{
		Waiting: perSlot(Waiting, "due"),
		Held:    perSlot(Held, "seq"),
		Dead:    `(SELECT state, destination, seq, created_at FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq LIMIT $1::bigint)`,
		Skipped: `(SELECT * FROM (SELECT state, destination, seq, created_at FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT $1::bigint) d WHERE state = 'skipped')`,
	}
	count := map[State]string{}
	for state, rows := range of {
		count[state] = `SELECT destination, count(*), ` + age("min(created_at)") + ` FROM ` + rows + ` d GROUP BY destination`
	}
	unfinished := of[Waiting] + ` UNION ALL ` + of[Held] + ` UNION ALL ` + of[Dead] + ` UNION ALL ` + of[Skipped]
	its := ` CROSS JOIN LATERAL (SELECT tenant_id, topic, created_at FROM ` + t.Outbox + ` e WHERE e.seq = o.seq LIMIT 1) e`
	return backlogQueries{
		heads: `SELECT last, COALESCE(first, last + 1), heads, extract(epoch FROM clock_timestamp() - (SELECT created_at FROM ` + t.Outbox + ` e WHERE e.seq = first))::float8
			FROM (SELECT q.last, min(h.seq) AS first, json_agg(COALESCE(h.seq, q.last + 1) ORDER BY s.n)::text AS heads
				FROM (SELECT ` + lastNumber(t) + ` AS last) q
				CROSS JOIN unnest($1::bigint[]) WITH ORDINALITY AS s(floor, n)
				LEFT JOIN LATERAL (SELECT p.seq FROM ` + t.Pending + ` p WHERE p.slot = (s.n - 1)::smallint AND p.seq >= s.floor ORDER BY p.seq LIMIT 1) h ON true
				GROUP BY q.last) h`,
		pending:    `SELECT count(*) FROM (SELECT 1 FROM ` + t.Pending + ` LIMIT $1::bigint) p`,
		deliveries: count,
		allDeliveries: `SELECT count(*), COALESCE((SELECT min(seq) FROM ` + t.Deliveries + `), 1), COALESCE((SELECT max(seq) FROM ` + t.Deliveries + `), 0)
			FROM (SELECT 1 FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT $1::bigint) d`,
		events: `SELECT o.state, '', e.tenant_id, e.topic, count(*)::float8, ` + age("min(e.created_at)") + `
			FROM ((SELECT 'pending' AS state, seq FROM ` + t.Pending + ` LIMIT $1::bigint) UNION ALL SELECT state, seq FROM (` + unfinished + `) d) o` + its + `
			GROUP BY 1, 3, 4`,
		samplePending: `SELECT 'pending', '', e.tenant_id, e.topic, count(*)::float8, ` + age("min(e.created_at)") + `
			FROM unnest($1::bigint[], $3::smallint[]) AS c(start, slot)
			CROSS JOIN LATERAL (SELECT p.seq FROM ` + t.Pending + ` p WHERE p.slot = c.slot AND p.seq >= c.start AND p.seq < c.start + $2::bigint
				ORDER BY p.seq LIMIT $2::bigint) o` + its + ` GROUP BY 3, 4`,
		sampleDeliveries: `SELECT o.state, o.destination, e.tenant_id, e.topic, count(*)::float8, ` + age("min(o.created_at)") + `
			FROM unnest($1::bigint[], $3::smallint[]) AS c(start, slot)
			CROSS JOIN LATERAL (SELECT d.* FROM ` + t.Deliveries + ` d WHERE d.seq >= c.start AND d.seq < c.start + $2::bigint
				ORDER BY d.seq, d.target LIMIT 1000) o` + its + ` GROUP BY 1, 2, 3, 4`,
		fleet: `SELECT f.id, f.group_name, f.started_at, f.expires_at >= clock_timestamp(),
				(SELECT count(*) FROM ` + t.Slots + ` s WHERE s.group_name = f.group_name AND s.owner = f.id) FROM ` + t.Forwarders + ` f WHERE ` + standardText + `
			UNION ALL SELECT '', group_name, NULL, false, count(*) FILTER (WHERE owner IS NULL) FROM ` + t.Slots + ` GROUP BY group_name
			ORDER BY 2, 1`,
	}
}
