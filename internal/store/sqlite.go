package store

import (
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

type sqlite struct{}

const sqliteNow = dialect.SQLiteNow

// age is the time since a moment, in seconds.
func (sqlite) age(at string) string { return `(julianday('now') - julianday(` + at + `)) * 86400.0` }

func (sqlite) queries(t dialect.Tables) queries {
	later := func(param string) string {
		return `strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', printf('%+.3f seconds', ` + param + `))`
	}
	const rows = `(SELECT value ->> 'seq' AS seq, value ->> 'target' AS target, value ->> 'slot' AS slot, value ->> 'key_hash' AS key_hash,
		value ->> 'destination' AS destination, value ->> 'state' AS state, value ->> 'attempts' AS attempts, value ->> 'wait' AS wait,
		value ->> 'error' AS error FROM json_each(?1)) AS x`
	const keys = `(SELECT value ->> 'slot' AS slot, value ->> 'target' AS target, value ->> 'key_hash' AS key_hash FROM json_each(?1)) AS x`
	filter := func(tenants, topics int) string {
		return fmt.Sprintf(`(?%d IS NULL OR e.tenant_id IN (SELECT value FROM json_each(?%[1]d))) AND
			(?%[2]d IS NULL OR e.topic IN (SELECT value FROM json_each(?%[2]d)))`, tenants, topics)
	}
	event := func(inline int) string {
		return eventColumns + sqlite{}.payload(inline)
	}
	done := `DELETE FROM ` + t.Pending + ` WHERE slot IN (SELECT value FROM json_each(?1)) AND seq IN (SELECT value FROM json_each(?2))`

	return queries{
		missing: `SELECT column1 FROM (VALUES ('` + strings.Join(t.All(), `'), ('`) + `'))
			WHERE column1 NOT IN (SELECT '"' || name || '"' FROM sqlite_master WHERE type = 'table') LIMIT 1`,

		// Taken as the first statement, so that the transaction holds the write lock before it reads.
		lockTx: `UPDATE ` + t.Slots + ` SET epoch = epoch WHERE 0`,

		ask:     `SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '` + t.Prefix + `'), 0), ''`,
		writers: ``, // one writer: nothing commits below what was read
		read: `SELECT p.slot, p.seq, ` + event(4) + ` FROM ` + t.Pending + ` p LEFT JOIN ` + t.Outbox + ` e ON e.seq = p.seq AND ` + filter(5, 6) + `
			WHERE p.slot = json_extract(?1, '$[0]') AND p.seq > json_extract(?2, '$[0]') ORDER BY p.seq LIMIT json_extract(?3, '$[0]')`,
		payload: `SELECT payload, payload_bytes FROM ` + t.Outbox + ` WHERE seq = ?1`,
		events:  `SELECT e.slot, e.seq, ` + event(2) + ` FROM ` + t.Outbox + ` e WHERE e.seq IN (SELECT value FROM json_each(?1)) ORDER BY e.seq`,
		due: `SELECT p.slot, p.seq, p.target, p.destination, p.state, p.attempts, p.key_hash, p.error, ` + event(3) + `
			FROM ` + t.Deliveries + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq
			WHERE p.slot IN (SELECT value FROM json_each(?1)) AND p.state = 'waiting' AND p.due <= ` + sqliteNow + ` AND ` + filter(4, 5) + `
			ORDER BY p.due, p.seq LIMIT ?2 + 0 * ?6`,
		held: `SELECT p.slot, p.seq, p.target, p.destination, p.state, p.attempts, p.key_hash, p.error, ` + event(4) + `
			FROM ` + t.Deliveries + ` p LEFT JOIN ` + t.Outbox + ` e ON e.seq = p.seq AND ` + filter(5, 6) + `
			WHERE p.slot = json_extract(?1, '$[0]') AND p.seq > json_extract(?2, '$[0]') AND p.state = 'held' AND (?7 IS NULL OR p.destination = ?7 OR substr(?7, -3) = '://'
				AND (substr(p.destination, 1, length(?7)) = ?7 OR ?8 AND instr(p.destination, '://') = 0))
				AND (p.key_hash IS NULL OR NOT EXISTS (SELECT 1 FROM ` + t.Deliveries + ` b WHERE b.slot = p.slot AND b.target = p.target
					AND b.key_hash = p.key_hash AND b.seq < p.seq AND b.state <> 'held'))
			ORDER BY p.seq LIMIT ?3`,
		nextDue: `SELECT -` + sqlite{}.age("min(due)") + ` FROM ` + t.Deliveries + `
			WHERE slot IN (SELECT value FROM json_each(?1)) AND state = 'waiting'`,
		blocked: `SELECT DISTINCT slot, target, key_hash FROM ` + t.Deliveries + `
			WHERE slot IN (SELECT value FROM json_each(?1)) AND key_hash IS NOT NULL`,
		pending: `SELECT EXISTS (SELECT 1 FROM ` + t.Pending + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq WHERE ` + filter(1, 2) + `)
			OR EXISTS (SELECT 1 FROM ` + t.Deliveries + ` p JOIN ` + t.Outbox + ` e ON e.seq = p.seq
				WHERE p.state = 'waiting' AND p.due <= ` + sqliteNow + ` AND ` + filter(1, 2) + `)`,

		done:   done,
		passed: done + ` RETURNING seq`,
		fence: `SELECT o.slot FROM ` + t.Slots + ` o WHERE o.group_name = ?1 AND o.owner IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(?2) s
			JOIN json_each(?3) e ON e.key = s.key WHERE s.value = o.slot AND e.value = o.epoch)`,
		open: `INSERT INTO ` + t.Deliveries + ` (seq, target, slot, key_hash, destination, state, attempts, due, error)
			SELECT seq, target, slot, key_hash, destination, state, attempts, ` + later("wait") + `, error
			FROM ` + rows + ` WHERE true ON CONFLICT (seq, target) DO NOTHING`,
		hold: `INSERT INTO ` + t.Deliveries + ` (seq, target, slot, key_hash, destination, state)
			SELECT seq, target, slot, key_hash, destination, CASE WHEN row_number() OVER (PARTITION BY slot, target, key_hash ORDER BY seq) = 1
				AND NOT EXISTS (SELECT 1 FROM ` + t.Deliveries + ` d WHERE d.slot = x.slot AND d.target = x.target
					AND d.key_hash = x.key_hash AND d.seq < x.seq) THEN 'waiting' ELSE 'held' END
			FROM ` + rows + ` WHERE true ON CONFLICT (seq, target) DO NOTHING`,
		ended: `DELETE FROM ` + t.Deliveries + ` WHERE (seq, target) IN (WITH s AS MATERIALIZED (SELECT key, value FROM json_each(?1)),
			t AS MATERIALIZED (SELECT key, value FROM json_each(?2)) SELECT s.value, t.value FROM s JOIN t ON t.key = s.key)`,
		failed: `UPDATE ` + t.Deliveries + ` AS d SET state = x.state, destination = x.destination, attempts = x.attempts, error = x.error, key_hash = x.key_hash,
			due = ` + later("x.wait") + `, updated_at = ` + sqliteNow + ` FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state <> 'dead'`,
		cancelled: `SELECT d.slot, d.target, d.key_hash FROM ` + rows + ` JOIN ` + t.Deliveries + ` d ON d.seq = x.seq
			WHERE d.state IN ('waiting', 'held') AND d.key_hash IS NOT NULL`,
		cancel: `UPDATE ` + t.Deliveries + ` AS d SET state = 'dead', key_hash = NULL, error = x.error, updated_at = ` + sqliteNow + `
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.state IN ('waiting', 'held')`,
		drop: `DELETE FROM ` + t.Deliveries + ` WHERE state IN ('waiting', 'held') AND EXISTS (SELECT 1 FROM ` + rows + `
			WHERE x.seq = ` + t.Deliveries + `.seq AND x.target <> ` + t.Deliveries + `.target)`,
		release: `UPDATE ` + t.Deliveries + ` SET state = 'waiting', due = ` + sqliteNow + `, updated_at = ` + sqliteNow + `
			WHERE state = 'held' AND (seq, target) IN (SELECT (SELECT min(h.seq) FROM ` + t.Deliveries + ` h WHERE h.slot = x.slot
				AND h.target = x.target AND h.key_hash = x.key_hash), x.target FROM ` + keys + `)`,
		still: `SELECT x.slot, x.target, x.key_hash FROM ` + keys + ` WHERE EXISTS (SELECT 1 FROM ` + t.Deliveries + ` d
			WHERE d.slot = x.slot AND d.target = x.target AND d.key_hash = x.key_hash)`,

		join: `INSERT INTO ` + t.Forwarders + ` (id, group_name, filter, expires_at) VALUES (?1, ?2, ?3, ` + later("?4") + `)`,
		renew: `UPDATE ` + t.Forwarders + ` SET expires_at = ` + later("?2") + ` WHERE id = ?1
			RETURNING (SELECT count(*) FROM ` + t.Slots + ` WHERE owner = ?1)`,
		leave:  `DELETE FROM ` + t.Forwarders + ` WHERE id = ?1`,
		reap:   `DELETE FROM ` + t.Forwarders + ` WHERE group_name = ?1 AND expires_at < ` + sqliteNow,
		peers:  `SELECT id, filter FROM ` + t.Forwarders + ` WHERE group_name = ?1 AND expires_at >= ` + sqliteNow + ` ORDER BY id`,
		others: `SELECT DISTINCT group_name, filter FROM ` + t.Forwarders + ` WHERE expires_at >= ` + sqliteNow + ` ORDER BY 1`,
		// One slot, whatever the number that is asked for.
		seedSlots: `INSERT INTO ` + t.Slots + ` (group_name, slot) SELECT ?1, 0 WHERE ?2 > 0 AND NOT EXISTS
			(SELECT 1 FROM ` + t.Slots + ` WHERE group_name = ?1) ON CONFLICT DO NOTHING`,
		owned: `SELECT slot, epoch FROM ` + t.Slots + ` WHERE owner = ?1 ORDER BY slot`,
		free:  `SELECT count(*) FROM ` + t.Slots + ` WHERE group_name = ?1 AND owner IS NULL`,
		acquire: `UPDATE ` + t.Slots + ` SET owner = ?2, epoch = epoch + 1 WHERE group_name = ?1 AND slot IN (SELECT slot FROM ` + t.Slots + `
			WHERE group_name = ?1 AND owner IS NULL ORDER BY slot LIMIT ?3)
			AND EXISTS (SELECT 1 FROM ` + t.Forwarders + ` WHERE id = ?2) RETURNING slot, epoch`,
		unown: `UPDATE ` + t.Slots + ` SET owner = NULL WHERE owner = ?1 AND slot IN (SELECT value FROM json_each(?2))`,

		dead: `SELECT d.seq, d.target, d.slot, d.key_hash, d.destination, d.attempts, d.error, d.created_at, d.updated_at, e.id, e.tenant_id, e.topic,
				COALESCE(e.aggregate_type, ''), COALESCE(e.aggregate_id, ''), e.created_at, ` + sqlitePayloadLength + `
			FROM ` + t.Deliveries + ` d JOIN ` + t.Outbox + ` e ON e.seq = d.seq WHERE d.state = 'dead'
				AND (?1 IS NULL OR d.seq IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR e.tenant_id = ?2)
				AND (?3 IS NULL OR e.topic = ?3) AND (?4 IS NULL OR d.target = ?4) AND (?5 IS NULL OR d.destination = ?5)
				AND (?6 IS NULL OR instr(d.error, ?6) > 0) AND (?7 IS NULL OR d.updated_at >= ?7) AND (?8 IS NULL OR d.updated_at < ?8)
				AND (d.seq, d.target) > (?9, ?10) ORDER BY d.seq, d.target LIMIT ?11`,
		replay: `UPDATE ` + t.Deliveries + ` AS d SET state = 'waiting', attempts = 0, destination = '', due = ` + sqliteNow + `, updated_at = ` + sqliteNow + `
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state = 'dead'`,
		discard: `UPDATE ` + t.Deliveries + ` AS d SET state = 'skipped', key_hash = NULL, error = x.error, updated_at = ` + sqliteNow + `
			FROM ` + rows + ` WHERE d.seq = x.seq AND d.target = x.target AND d.state = 'dead'`,

		controls: `SELECT kind, name, reason, since FROM ` + t.Controls + ` ORDER BY kind, name`,
		setControl: `INSERT INTO ` + t.Controls + ` (kind, name, reason) VALUES (?1, ?2, ?3)
			ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason`,
		unsetControl: `DELETE FROM ` + t.Controls + ` WHERE kind = ?1 AND name = ?2`,

		indexes: `SELECT name, tbl_name, 1, -1, -1, NULL FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND '"' || tbl_name || '"' IN (
			'` + t.Outbox + `', '` + t.Pending + `', '` + t.Deliveries + `', '` + t.Controls + `', '` + t.Cleanup + `', '` + t.Forwarders + `', '` + t.Slots + `')`,
		clean: sqlite{}.cleanQueries(t), glance: sqlite{}.glanceQueries(t), diagnose: sqlite{}.diagnoseQueries(t),

		backlog: sqlite{}.backlogQueries(t),
	}
}

// The size of text is that in the encoding of the database, which is UTF-8 unless its maker chose another.
const sqlitePayloadLength = `COALESCE(length(CAST(e.payload AS BLOB)), length(e.payload_bytes), 0)`

// payload is what [eventColumns] ends with; parameter inline is the longest payload that is to come along.
func (sqlite) payload(inline int) string {
	return fmt.Sprintf(`CASE WHEN length(CAST(e.payload AS BLOB)) <= ?%d THEN e.payload END,
		CASE WHEN length(e.payload_bytes) <= ?%[1]d THEN e.payload_bytes END, `, inline) + sqlitePayloadLength
}
