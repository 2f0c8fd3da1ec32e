package store

import (
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

type postgres struct{}

func (postgres) queries(t dialect.Tables) queries {
	const keys = `json_to_recordset($1::json) AS x(slot smallint, target text, key_hash bigint)`
	const rows = `json_to_recordset($1::json) AS x(seq bigint, target text, slot smallint, key_hash bigint, destination text,
		state text, attempts integer, wait float8, error text)`
	const seconds = `make_interval(secs => $%d::float8)`
	const filter = `($%d::text[] IS NULL OR e.tenant_id = ANY($%[1]d::text[])) AND ($%[2]d::text[] IS NULL OR e.topic = ANY($%[2]d::text[]))`
	// The lateral form keeps the index whatever the statistics say; a join flips to a sequential scan.
	event := func(tenants, topics int) string {
		return ` LEFT JOIN LATERAL (SELECT * FROM ` + t.Outbox + ` e WHERE e.seq = p.seq AND ` + fmt.Sprintf(filter, tenants, topics) + ` LIMIT 1) e ON true`
	}
	payload := postgres{}.payload
	done := `DELETE FROM ` + t.Pending + ` WHERE ctid = ANY (ARRAY(SELECT p.ctid FROM unnest($1::smallint[], $2::bigint[]) AS x(slot, seq)
			CROSS JOIN LATERAL (SELECT p.ctid FROM ` + t.Pending + ` p WHERE p.slot = x.slot AND p.seq = x.seq LIMIT 1) p))`
	return queries{
		currentSchema: `SELECT COALESCE(current_schema(), '')`,
		missing:       `SELECT name FROM (VALUES ('` + strings.Join(t.All(), `'), ('`) + `')) x (name) WHERE to_regclass(name) IS NULL LIMIT 1`,
		obstacle:      postgres{}.obstacle(t),

		ask: `SELECT ` + lastNumber(t) + `, pg_postmaster_start_time()::text`,
		// Transaction ids are looked at before the locks on the table: whoever still holds one of those is seen with its id.
		writers: `SELECT w.name, COALESCE((SELECT xid FROM unnest(x.names, x.xids, x.ages) AS u(name, xid, age) WHERE u.name = w.name
				ORDER BY age DESC LIMIT 1), 0)
			FROM (SELECT COALESCE(array_agg(virtualtransaction), '{}') AS names, array_agg(transactionid::text::bigint) AS xids,
					array_agg(age(transactionid)) AS ages
				FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted) x
			CROSS JOIN LATERAL (SELECT virtualtransaction AS name FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
				AND granted AND relation = '` + t.Outbox + `'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND x.names IS NOT NULL OFFSET 0) w`,
		read: `SELECT p.slot, p.seq, ` + eventColumns + payload(4) + ` FROM unnest($1::smallint[], $2::bigint[], $3::int[]) AS s(slot, after, lim)
			CROSS JOIN (SELECT min(after) AS after FROM unnest($7::bigint[], $8::bigint[]) AS w(xid, after),
				(SELECT txid_current_snapshot() AS seen, txid_snapshot_xmax(txid_current_snapshot()) AS next) now
				WHERE txid_visible_in_snapshot(next + ((xid - next + 2147483648) & 4294967295) - 2147483648, seen) HAVING ` + standardText + `) late
			CROSS JOIN LATERAL (SELECT p.slot, p.seq FROM ` + t.Pending + ` p WHERE p.slot = s.slot AND p.seq > LEAST(s.after, late.after)
				ORDER BY p.seq LIMIT s.lim) p` + event(5, 6),
		payload: `SELECT payload, payload_bytes FROM ` + t.Outbox + ` WHERE seq = $1::bigint AND ` + standardText,
		events:  `SELECT e.slot, e.seq, ` + eventColumns + payload(2) + ` FROM ` + t.Outbox + ` e WHERE e.seq = ANY ($1::bigint[]) AND ` + standardText + ` ORDER BY e.seq`,
		due: `SELECT p.slot, p.seq, p.target, p.destination, p.state, p.attempts, p.key_hash, p.error, ` + eventColumns + payload(3) + `
			FROM unnest($1::smallint[]) AS s(slot)
			CROSS JOIN LATERAL (SELECT p.* FROM ` + t.Deliveries + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq
				WHERE p.slot = s.slot AND p.state = 'waiting' AND p.due <= clock_timestamp() AND ` + fmt.Sprintf(filter, 4, 5) + `
				ORDER BY p.due, p.seq LIMIT $2::int) w
			CROSS JOIN LATERAL (SELECT w.* UNION ALL (SELECT h.* FROM ` + t.Deliveries + ` h
				WHERE w.key_hash IS NOT NULL AND h.slot = w.slot AND h.target = w.target AND h.key_hash = w.key_hash AND h.seq > w.seq
					AND h.state = 'held' ORDER BY h.seq LIMIT $6::int)) p` + event(4, 5) + ` WHERE ` + standardText + ` LIMIT $2::int`,
		// That anything of a slot waits or is dead is asked once: where nothing does, no delivery has to be asked what it is behind.
		held: `SELECT p.slot, p.seq, p.target, p.destination, p.state, p.attempts, p.key_hash, p.error, ` + eventColumns + payload(4) + `
			FROM unnest($1::smallint[], $2::bigint[]) AS s(slot, after)
			LEFT JOIN LATERAL (SELECT true AS any FROM ` + t.Deliveries + ` b WHERE b.slot = s.slot AND b.key_hash IS NOT NULL AND b.state <> 'held'
				ORDER BY b.target, b.key_hash, b.seq LIMIT 1) f ON true
			CROSS JOIN LATERAL (SELECT p.* FROM ` + t.Deliveries + ` p WHERE p.slot = s.slot AND p.seq > s.after AND p.state = 'held'
				AND ($7::text IS NULL OR p.destination = $7::text OR right($7::text, 3) = '://'
					AND (starts_with(p.destination, $7::text) OR $8::bool AND strpos(p.destination, '://') = 0)) AND (p.key_hash IS NULL OR f.any IS NULL OR NOT EXISTS (SELECT 1 FROM ` + t.Deliveries + ` b
					WHERE b.slot = p.slot AND b.target = p.target AND b.key_hash = p.key_hash AND b.seq < p.seq AND b.state <> 'held'))
				ORDER BY p.seq LIMIT $3::int) p` + event(5, 6) + ` WHERE ` + standardText,
		nextDue: `SELECT extract(epoch FROM min(d.due) - clock_timestamp())::float8 FROM unnest($1::smallint[]) AS s(slot)
			CROSS JOIN LATERAL (SELECT due FROM ` + t.Deliveries + ` d WHERE d.slot = s.slot AND d.state = 'waiting'
				ORDER BY due LIMIT 1) d WHERE ` + standardText,
		blocked: `SELECT DISTINCT d.slot, d.target, d.key_hash FROM unnest($1::smallint[]) AS s(slot)
			JOIN ` + t.Deliveries + ` d ON d.slot = s.slot WHERE d.key_hash IS NOT NULL`,
		pending: `SELECT EXISTS (SELECT 1 FROM ` + t.Pending + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq WHERE ` + fmt.Sprintf(filter, 1, 2) + `)
			OR EXISTS (SELECT 1 FROM ` + t.Deliveries + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq
				WHERE p.state = 'waiting' AND p.due <= clock_timestamp() AND ` + fmt.Sprintf(filter, 1, 2) + `)`,

		done:   done,
		passed: done + ` RETURNING seq`,
		guard:  `SELECT 1 FROM ` + t.Slots + ` WHERE slot = ANY ($1::smallint[]) ORDER BY group_name, slot FOR NO KEY UPDATE`,
		fence: `SELECT o.slot FROM ` + t.Slots + ` o JOIN unnest($2::smallint[], $3::bigint[]) AS x(slot, epoch)
			ON x.slot = o.slot AND x.epoch = o.epoch WHERE o.group_name = $1::text AND o.owner IS NOT NULL ORDER BY o.slot FOR SHARE OF o`,
		open: `INSERT INTO ` + t.Deliveries + ` (seq, target, slot, key_hash, destination, state, attempts, due, error)
			SELECT seq, target, slot, key_hash, destination, state, attempts, clock_timestamp() + make_interval(secs => wait), error
			FROM ` + rows + ` ON CONFLICT (seq, target) DO NOTHING`,
		hold: `INSERT INTO ` + t.Deliveries + ` (seq, target, slot, key_hash, destination, state)
			SELECT seq, target, slot, key_hash, destination, CASE WHEN row_number() OVER (PARTITION BY slot, target, key_hash ORDER BY seq) = 1
				AND NOT EXISTS (SELECT 1 FROM ` + t.Deliveries + ` d WHERE d.slot = x.slot AND d.target = x.target
					AND d.key_hash = x.key_hash AND d.seq < x.seq) THEN 'waiting' ELSE 'held' END
			FROM ` + rows + ` ON CONFLICT (seq, target) DO NOTHING`,
		ended: `DELETE FROM ` + t.Deliveries + ` WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM unnest($1::bigint[], $2::text[]) AS x(seq, target) CROSS JOIN LATERAL
			(SELECT d.ctid FROM ` + t.Deliveries + ` d WHERE d.seq = x.seq AND d.target = x.target LIMIT 1) d))`,
		failed: `UPDATE ` + t.Deliveries + ` d SET state = x.state, destination = x.destination, attempts = x.attempts, error = x.error, key_hash = x.key_hash,
			due = clock_timestamp() + make_interval(secs => x.wait), updated_at = clock_timestamp()
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state <> 'dead'`,
		cancelled: `SELECT d.slot, d.target, d.key_hash FROM ` + rows + ` JOIN ` + t.Deliveries + ` d ON d.seq = x.seq
			WHERE d.state IN ('waiting', 'held') AND d.key_hash IS NOT NULL`,
		cancel: `UPDATE ` + t.Deliveries + ` d SET state = 'dead', key_hash = NULL, error = x.error, updated_at = clock_timestamp()
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.state IN ('waiting', 'held')`,
		drop: `DELETE FROM ` + t.Deliveries + ` d USING ` + rows + ` WHERE d.seq = x.seq AND d.target <> x.target AND d.state IN ('waiting', 'held')`,
		release: `UPDATE ` + t.Deliveries + ` d SET state = 'waiting', due = clock_timestamp(), updated_at = clock_timestamp()
			FROM ` + keys + ` CROSS JOIN LATERAL (SELECT h.seq FROM ` + t.Deliveries + ` h WHERE h.slot = x.slot AND h.target = x.target
				AND h.key_hash = x.key_hash ORDER BY h.seq LIMIT 1) h
			WHERE d.seq = h.seq AND d.target = x.target AND d.state = 'held'`,
		still: `SELECT x.slot, x.target, x.key_hash FROM ` + keys + ` WHERE EXISTS (SELECT 1 FROM ` + t.Deliveries + ` d
			WHERE d.slot = x.slot AND d.target = x.target AND d.key_hash = x.key_hash)`,

		join: `INSERT INTO ` + t.Forwarders + ` (id, group_name, filter, expires_at)
			VALUES ($1::text, $2::text, $3::text, clock_timestamp() + ` + fmt.Sprintf(seconds, 4) + `)`,
		renew: `UPDATE ` + t.Forwarders + ` SET expires_at = clock_timestamp() + ` + fmt.Sprintf(seconds, 2) + ` WHERE id = $1::text
			RETURNING (SELECT count(*) FROM ` + t.Slots + ` WHERE owner = $1::text)`,
		leave:  `DELETE FROM ` + t.Forwarders + ` WHERE id = $1::text`,
		reap:   `DELETE FROM ` + t.Forwarders + ` WHERE group_name = $1::text AND expires_at < clock_timestamp()`,
		peers:  `SELECT id, filter FROM ` + t.Forwarders + ` WHERE group_name = $1::text AND expires_at >= clock_timestamp() ORDER BY id`,
		others: `SELECT DISTINCT group_name, filter FROM ` + t.Forwarders + ` WHERE expires_at >= clock_timestamp() ORDER BY 1`,
		seedSlots: `INSERT INTO ` + t.Slots + ` (group_name, slot) SELECT $1::text, s FROM generate_series(0, $2::int - 1) s
			WHERE NOT EXISTS (SELECT 1 FROM ` + t.Slots + ` WHERE group_name = $1::text AND slot = $2::int - 1) ON CONFLICT DO NOTHING`,
		owned: `SELECT slot, epoch FROM ` + t.Slots + ` WHERE owner = $1::text ORDER BY slot`,
		free:  `SELECT count(*) FROM ` + t.Slots + ` WHERE group_name = $1::text AND owner IS NULL`,
		acquire: `UPDATE ` + t.Slots + ` o SET owner = $2::text, epoch = epoch + 1 FROM (SELECT slot FROM ` + t.Slots + `
			WHERE group_name = $1::text AND owner IS NULL ORDER BY slot LIMIT $3::int FOR UPDATE SKIP LOCKED) f
			WHERE o.group_name = $1::text AND o.slot = f.slot RETURNING o.slot, o.epoch`,
		unown: `UPDATE ` + t.Slots + ` SET owner = NULL WHERE owner = $1::text AND slot = ANY ($2::smallint[])`,

		dead: `SELECT d.seq, d.target, d.slot, d.key_hash, d.destination, d.attempts, d.error, d.created_at, d.updated_at, e.id, e.tenant_id, e.topic,
				COALESCE(e.aggregate_type, ''), COALESCE(e.aggregate_id, ''), e.created_at, ` + payloadLength + `
			FROM ` + t.Deliveries + ` d JOIN ` + t.Outbox + ` e ON e.seq = d.seq WHERE d.state = 'dead'
				AND ($1::bigint[] IS NULL OR d.seq = ANY ($1::bigint[])) AND ($2::text IS NULL OR e.tenant_id = $2::text)
				AND ($3::text IS NULL OR e.topic = $3::text) AND ($4::text IS NULL OR d.target = $4::text)
				AND ($5::text IS NULL OR d.destination = $5::text) AND ($6::text IS NULL OR strpos(d.error, $6::text) > 0)
				AND ($7::timestamptz IS NULL OR d.updated_at >= $7::timestamptz) AND ($8::timestamptz IS NULL OR d.updated_at < $8::timestamptz)
				AND (d.seq, d.target) > ($9::bigint, $10::text) AND ` + standardText + ` ORDER BY d.seq, d.target LIMIT $11::int`,
		replay: `UPDATE ` + t.Deliveries + ` d SET state = 'waiting', attempts = 0, destination = '', due = clock_timestamp(), updated_at = clock_timestamp()
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state = 'dead'`,
		discard: `UPDATE ` + t.Deliveries + ` d SET state = 'skipped', key_hash = NULL, error = x.error, updated_at = clock_timestamp()
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state = 'dead'`,

		controls: `SELECT kind, name, reason, since FROM ` + t.Controls + ` WHERE ` + standardText + ` ORDER BY kind, name`,
		setControl: `INSERT INTO ` + t.Controls + ` (kind, name, reason) VALUES ($1::text, $2::text, $3::text)
			ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason`,
		unsetControl: `DELETE FROM ` + t.Controls + ` WHERE kind = $1::text AND name = $2::text`,

		indexes: postgres{}.indexes(t), concurrently: "CONCURRENTLY ",
		clean: postgres{}.cleanQueries(t), glance: postgres{}.glanceQueries(t), partition: postgres{}.partitionQueries(t), diagnose: postgres{}.diagnoseQueries(t),

		backlog: postgres{}.backlogQueries(t),
	}
}

// standardText is a condition that is always true. A row that has passed it is written in one way whatever the database or the role is set to: drivers
// get values as text in the simple protocol, and know no other form of times and bytes. It lasts for the transaction, as behind a pooler it has to,
// and costs a statement that much, not each of its rows.
const standardText = `(SELECT set_config('DateStyle', 'ISO', true) || set_config('bytea_output', 'hex', true) || set_config('extra_float_digits', '1', true)) IS NOT NULL`

const payloadLength = `COALESCE(octet_length(e.payload), octet_length(e.payload_bytes), 0)`

// payload is what [eventColumns] ends with; parameter inline is the longest payload that is to come along.
func (postgres) payload(inline int) string {
	return fmt.Sprintf(`CASE WHEN octet_length(e.payload) <= $%d::int THEN e.payload END,
		CASE WHEN octet_length(e.payload_bytes) <= $%[1]d::int THEN e.payload_bytes END, `, inline) + payloadLength
}

// lastNumber is the last number that was given out, 0 before the first. The function waits for whoever is taking one. A plain read of the sequence
// does not, and may see the number that nextval writes to the log before it takes it back: up to 32 too many. See docs/decisions/006.
//
// The function is NULL for a role that may not read the sequence, from PostgreSQL 17 on, which would look as if nothing had been stored. Naming the
// sequence in the statement makes the server refuse it instead.
func lastNumber(t dialect.Tables) string {
	return `COALESCE(pg_sequence_last_value('` + t.SeqSeq + `'::regclass), (SELECT 0 FROM ` + t.SeqSeq + ` LIMIT 0), 0)`
}
