package schema

func (sqlite) diagnoseQueries(t tables) diagnoseQueries {
	return diagnoseQueries{
		ageFrom: `SELECT seq, created_at < strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', printf('-%.3f seconds', ?2)) FROM ` + t.Outbox + ` WHERE seq >= ?1 ORDER BY seq LIMIT 1`,
		oldest: `SELECT (julianday('now') - julianday(created_at)) * 86400.0 FROM ` + t.Outbox + `
			WHERE seq > COALESCE((SELECT floor FROM ` + t.Cleanup + `), 0) ORDER BY seq LIMIT 1`,
		unfinished: `SELECT (SELECT count(*) FROM (SELECT 1 FROM ` + t.Pending + ` WHERE slot = 0 AND seq < ?1 LIMIT ?2)),
			(SELECT count(*) FROM (SELECT 1 FROM ` + t.Deliveries + ` WHERE seq < ?1 AND state IN ('waiting', 'held') LIMIT ?2))`,
		failures: `SELECT * FROM (SELECT state, destination, substr(error, 1, 1000) FROM ` + t.Deliveries + ` WHERE state = 'waiting' AND error <> '' ORDER BY seq DESC LIMIT ?1)
			UNION ALL SELECT * FROM (SELECT state, destination, substr(error, 1, 1000) FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq DESC LIMIT ?1)`,
		transactions: ``,
	}
}
