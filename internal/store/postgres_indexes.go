package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

// indexes estimates what a B-tree needs: 20 bytes and the values for each entry, a tenth of each page free.
func (postgres) indexes(t dialect.Tables) string {
	return `SELECT ic.relname, tc.relname, i.indisvalid AND i.indisready, b.bytes, b.scans,
			CASE WHEN am.amname = 'btree' AND ic.reltuples >= 0 AND b.bytes > 0
				THEN (1 - (8192 * 2 + ic.reltuples * (20 + w.width) / 0.9) / b.bytes)::float8 END
		FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class tc ON tc.oid = i.indrelid JOIN pg_am am ON am.oid = ic.relam
		CROSS JOIN LATERAL (SELECT COALESCE((SELECT sum(pg_relation_size(p.relid)) FROM pg_partition_tree(ic.oid) p WHERE p.isleaf), pg_relation_size(ic.oid))::bigint AS bytes,
			COALESCE((SELECT sum(pg_stat_get_numscans(p.relid)) FROM pg_partition_tree(ic.oid) p WHERE p.isleaf), pg_stat_get_numscans(ic.oid))::bigint AS scans) b
		CROSS JOIN LATERAL (SELECT COALESCE(sum(COALESCE(s.avg_width, 8)), 8) AS width FROM pg_attribute a
			LEFT JOIN pg_stats s ON s.schemaname = tc.relnamespace::regnamespace::text AND s.tablename = tc.relname AND s.attname = a.attname AND NOT s.inherited
			WHERE a.attrelid = tc.oid AND a.attnum = ANY (i.indkey)) w
		WHERE tc.oid IN ('` + t.Outbox + `'::regclass, '` + t.Pending + `'::regclass, '` + t.Deliveries + `'::regclass, '` + t.Controls + `'::regclass, '` +
		t.Cleanup + `'::regclass, '` + t.Forwarders + `'::regclass, '` + t.Slots + `'::regclass)`
}
