package schema

func (postgres) diagnoseQueries(t tables) diagnoseQueries {
	return diagnoseQueries{
		ageFrom: `SELECT seq, created_at < clock_timestamp() - make_interval(secs => $2::float8) FROM ` + t.Outbox + ` WHERE seq >= $1::bigint ORDER BY seq LIMIT 1`,
		oldest: `SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM ` + t.Outbox + `
			WHERE seq > COALESCE((SELECT floor FROM ` + t.Cleanup + `), 0) AND isfinite(created_at) ORDER BY seq LIMIT 1`,
		unfinished: `SELECT (SELECT count(*) FROM (SELECT 1 FROM generate_series(0, 63) s CROSS JOIN LATERAL (SELECT 1 FROM ` + t.Pending + ` p
				WHERE p.slot = s AND p.seq < $1::bigint LIMIT $2::int) p LIMIT $2::int) p),
			(SELECT count(*) FROM (SELECT 1 FROM ` + t.Deliveries + ` WHERE seq < $1::bigint AND state IN ('waiting', 'held') ORDER BY seq, target LIMIT $2::int) d)`,
		failures: `(SELECT state, destination, left(error, 1000) FROM ` + t.Deliveries + ` WHERE state = 'waiting' AND error <> '' ORDER BY seq DESC LIMIT $1::int)
			UNION ALL (SELECT state, destination, left(error, 1000) FROM ` + t.Deliveries + ` WHERE state = 'dead' ORDER BY seq DESC LIMIT $1::int)`,
		transactions: `SELECT extract(epoch FROM clock_timestamp() - since)::float8 AS age, name, ending FROM (
				SELECT xact_start AS since, 'process ' || pid || COALESCE(' of ' || usename, '') || COALESCE(' (' || NULLIF(application_name, '') || ')', '') || ', ' ||
					COALESCE(state, 'unknown') AS name, 'SELECT pg_terminate_backend(' || pid || ');' AS ending
				FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
				UNION ALL SELECT prepared, 'prepared transaction ' || gid || ' of ' || owner, format('ROLLBACK PREPARED %L;', gid) FROM pg_prepared_xacts) x
			WHERE since < clock_timestamp() - make_interval(secs => $1::float8) ORDER BY since LIMIT 10`,
	}
}
