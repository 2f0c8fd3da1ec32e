package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

func (sqlite) backlogQueries(t dialect.Tables) backlogQueries {
	age := sqlite{}.age
	// What is open is found by the index of its state. Nothing lists skipped ones: they are looked for as far as the limit reaches.
	const columns = `state, destination, seq, created_at`
	of := map[State]string{
		Skipped: `SELECT * FROM (SELECT ` + columns + ` FROM ` + t.Deliveries + ` ORDER BY seq, target LIMIT ?1) WHERE state = 'skipped'`,
	}
	for _, state := range []State{Waiting, Held, Dead} {
		of[state] = `SELECT * FROM (SELECT ` + columns + ` FROM ` + t.Deliveries + ` WHERE state = '` + string(state) + `' LIMIT ?1)`
	}
	count := map[State]string{}
	for state, rows := range of {
		count[state] = `SELECT destination, count(*), ` + age("min(created_at)") + ` FROM (` + rows + `) GROUP BY destination`
	}
	unfinished := of[Waiting] + ` UNION ALL ` + of[Held] + ` UNION ALL ` + of[Dead] + ` UNION ALL ` + of[Skipped]

	return backlogQueries{
		heads: `SELECT last, COALESCE(first, last + 1), json_array(COALESCE(first, last + 1)), ` + age("e.created_at") + `
			FROM (SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '` + t.Prefix + `'), 0) AS last,
				(SELECT min(seq) FROM ` + t.Pending + ` WHERE slot = 0 AND seq >= json_extract(?1, '$[0]')) AS first) LEFT JOIN ` + t.Outbox + ` e ON e.seq = first`,
		pending:    `SELECT count(*) FROM (SELECT 1 FROM ` + t.Pending + ` LIMIT ?1)`,
		deliveries: count,
		allDeliveries: `SELECT count(*), COALESCE((SELECT min(seq) FROM ` + t.Deliveries + `), 1), COALESCE((SELECT max(seq) FROM ` + t.Deliveries + `), 0)
			FROM (SELECT 1 FROM ` + t.Deliveries + ` LIMIT ?1)`,
		events: `SELECT o.state, '', e.tenant_id, e.topic, count(*), ` + age("min(e.created_at)") + `
			FROM (SELECT * FROM (SELECT 'pending' AS state, seq FROM ` + t.Pending + ` LIMIT ?1) UNION ALL SELECT state, seq FROM (` + unfinished + `)) o
			CROSS JOIN ` + t.Outbox + ` e ON e.seq = o.seq GROUP BY 1, 3, 4`,
		samplePending: `SELECT 'pending', '', e.tenant_id, e.topic, count(*), ` + age("min(e.created_at)") + `
			FROM json_each(?1) c CROSS JOIN ` + t.Pending + ` p ON p.slot = 0 * length(?3) AND p.seq >= c.value AND p.seq < c.value + ?2
			CROSS JOIN ` + t.Outbox + ` e ON e.seq = p.seq GROUP BY 3, 4`,
		sampleDeliveries: `SELECT d.state, d.destination, e.tenant_id, e.topic, count(*), ` + age("min(d.created_at)") + `
			FROM json_each(?1) c CROSS JOIN ` + t.Deliveries + ` d ON d.seq >= c.value AND d.seq < c.value + ?2 + 0 * length(?3)
			CROSS JOIN ` + t.Outbox + ` e ON e.seq = d.seq GROUP BY 1, 2, 3, 4`,
		fleet: `SELECT f.id, f.group_name, f.started_at, f.expires_at >= ` + sqliteNow + `,
				(SELECT count(*) FROM ` + t.Slots + ` s WHERE s.group_name = f.group_name AND s.owner = f.id) FROM ` + t.Forwarders + ` f
			UNION ALL SELECT '', group_name, NULL, 0, count(*) FILTER (WHERE owner IS NULL) FROM ` + t.Slots + ` GROUP BY group_name
			ORDER BY 2, 1`,
	}
}
