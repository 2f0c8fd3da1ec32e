package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// What would be passed over in silence is refused at the start, and makes a forwarder that runs unready.
func TestWhatHidesRowsIsRefused(t *testing.T) {
	t.Parallel()
	all := func(format string) (list []string) {
		for _, table := range []string{"", "_pending", "_deliveries", "_controls", "_cleanup", "_forwarders", "_slots"} {
			list = append(list, fmt.Sprintf(format, "outbox"+table))
		}
		return list
	}
	for name, test := range map[string]struct {
		queries []string
		refused string // empty when it is not
	}{
		"nothing":                    {},
		"row-level security":         {[]string{`ALTER TABLE outbox ENABLE ROW LEVEL SECURITY`}, "row-level security hides rows of outbox from"},
		"of a small table":           {[]string{`ALTER TABLE outbox_slots ENABLE ROW LEVEL SECURITY`}, "row-level security hides rows of outbox_slots from"},
		"a policy by tenant":         {[]string{`ALTER TABLE outbox ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON outbox USING (tenant_id = 'a')`}, "row-level security"},
		"a policy of another":        {[]string{`ALTER TABLE outbox ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON outbox TO postgres USING (true)`}, "row-level security"},
		"a policy that only reads":   {[]string{`ALTER TABLE outbox_pending ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON outbox_pending FOR SELECT USING (true)`}, "row-level security"},
		"a restrictive policy":       {[]string{`ALTER TABLE outbox ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON outbox USING (true)`, `CREATE POLICY q ON outbox AS RESTRICTIVE USING (seq > 5)`}, "row-level security"},
		"policies that let all pass": {append(all(`ALTER TABLE %s ENABLE ROW LEVEL SECURITY`), all(`CREATE POLICY p ON %s USING (true)`)...), ""},
		"a rule":                     {[]string{`CREATE RULE away AS ON INSERT TO outbox DO INSTEAD NOTHING`}, "the rule away of outbox"},
		"a view in place of a table": {[]string{`ALTER TABLE outbox_pending RENAME TO other`, `CREATE VIEW outbox_pending AS SELECT * FROM other`, `GRANT ALL ON outbox_pending TO PUBLIC`}, "outbox_pending is not a table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDatabase(t)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			role := newRole(t, db, `GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE`, `GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE`)
			user := testdb.Open(t, as(t, dsn, role))
			running := open(t, user)
			require.NoError(t, running.Join(t.Context(), "g", "me", store.Filter{}, time.Minute))
			require.NoError(t, running.Rehearse(t.Context()))
			for _, query := range test.queries {
				_, err := db.ExecContext(t.Context(), query)
				require.NoError(t, err, query)
			}
			_, err := store.Open(t.Context(), user, schema.Config{})
			if test.refused == "" {
				require.NoError(t, err)
				require.NoError(t, running.Rehearse(t.Context()))
				return
			}
			require.ErrorIs(t, err, schema.ErrSchema)
			require.ErrorContains(t, err, test.refused)
			require.ErrorContains(t, running.Rehearse(t.Context()), test.refused)
		})
	}
}

// States that would stop the reading of others, or never be read, cannot be stored.
func TestRowsThatCannotBeReadAreRefused(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	hanging(t, db)
	for _, query := range []string{
		`UPDATE outbox_deliveries SET due = 'infinity'`, `UPDATE outbox_deliveries SET due = '-infinity'`, `UPDATE outbox_deliveries SET due = NULL`,
		`UPDATE outbox_deliveries SET slot = 64`, `UPDATE outbox_deliveries SET slot = -1`, `UPDATE outbox_pending SET slot = 64`, `UPDATE outbox_pending SET seq = NULL`,
		`INSERT INTO outbox (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (0, 't', '')`, `INSERT INTO outbox (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (-7, 't', '')`,
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.ErrorContains(t, err, "violates", query)
	}
	lite := testdb.SQLite(t)
	hanging(t, lite)
	for _, query := range []string{
		`UPDATE outbox_deliveries SET due = 'infinity'`, `UPDATE outbox_deliveries SET due = ''`, `UPDATE outbox_deliveries SET slot = 1`, `UPDATE outbox_pending SET slot = 1`,
		`INSERT INTO outbox (seq, topic, payload) VALUES (0, 't', '')`, `INSERT INTO outbox (seq, topic, payload) VALUES (-7, 't', '')`,
	} {
		_, err := lite.ExecContext(t.Context(), query)
		require.ErrorContains(t, err, "constraint failed", query)
	}
}
