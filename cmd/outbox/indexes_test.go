package main

import (
	"database/sql"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

func TestIndexes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		exec := func(query string) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		states := func(status int) map[string]store.Index {
			t.Helper()
			list := map[string]store.Index{}
			for line := range strings.Lines(outbox("indexes", "--json", "--database-url", url).require(t, status).stdout) {
				var i store.Index
				require.NoError(t, json.Unmarshal([]byte(line), &i))
				list[i.Name] = i
			}
			return list
		}
		all := states(statusDone)
		for name, i := range all {
			require.Equal(t, store.IndexOK, i.State, name)
			require.Empty(t, i.Fix, name)
		}
		require.Contains(t, all, "outbox_deliveries_due")
		postgres := strings.HasPrefix(url, "postgres")
		if postgres {
			require.Contains(t, all, "outbox_pending_pkey")
			require.Contains(t, all, "outbox_controls_pkey")
			require.Positive(t, all["outbox_pkey"].Bytes)
		}

		// What is dropped is missing, and its statement brings back what was there. What somebody else made is no fault.
		exec(`CREATE INDEX mine ON outbox (id)`)
		before := objects(t, db, url)
		dropped := []string{"outbox_deliveries_due", "outbox_created", "outbox_aggregate", "outbox_deliveries_key"}
		for _, name := range dropped {
			exec("DROP INDEX " + name)
		}
		if postgres {
			exec("ALTER TABLE outbox_controls DROP CONSTRAINT outbox_controls_pkey")
			dropped = append(dropped, "outbox_controls_pkey")
		}
		r := outbox("indexes", "--database-url", url).require(t, statusFailed)
		require.Regexp(t, `outbox_created +outbox +missing +- +- +-`, r.stdout)
		require.Contains(t, r.stderr, "indexes are missing or invalid; the statements above repair them")
		lacking := states(statusFailed)
		require.Equal(t, store.IndexExtra, lacking["mine"].State)
		for _, name := range dropped {
			require.Equal(t, store.IndexMissing, lacking[name].State)
			exec(lacking[name].Fix)
		}
		require.Equal(t, before, objects(t, db, url))
		states(statusDone)
		if !postgres {
			return
		}

		// As CREATE INDEX CONCURRENTLY leaves it when it is interrupted.
		exec(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbox_topic'::regclass`)
		broken := states(statusFailed)["outbox_topic"]
		require.Equal(t, store.IndexInvalid, broken.State)
		for _, query := range strings.SplitAfter(broken.Fix, ";") {
			exec(query)
		}
		require.Equal(t, before, objects(t, db, url))
		require.Contains(t, outbox("indexes", "--database-url", url).require(t, statusDone).stdout, "outbox_topic")
	})
}

// Of an index whose rows are gone a rebuild is advised, and of one that is full it is not.
func TestIndexesKnowBloat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		if !strings.HasPrefix(url, "postgres") {
			t.Skip("skipped: SQLite does not tell sizes")
		}
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		for _, query := range []string{
			`ALTER TABLE outbox_pending SET (autovacuum_enabled = off)`,
			`INSERT INTO outbox_pending SELECT n % 64, n FROM generate_series(1, 600000) n`,
			`ANALYZE outbox_pending`,
		} {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err)
		}
		pending := func() store.Index {
			for line := range strings.Lines(outbox("indexes", "--json", "--database-url", url).require(t, statusDone).stdout) {
				var i store.Index
				require.NoError(t, json.Unmarshal([]byte(line), &i))
				if i.Name == "outbox_pending_pkey" {
					return i
				}
			}
			return store.Index{}
		}
		full := pending()
		require.Greater(t, full.Bytes, int64(10<<20))
		require.Less(t, full.Bloat, 0.5)
		require.Empty(t, full.Fix)
		for _, query := range []string{`DELETE FROM outbox_pending WHERE seq % 10 > 0`, `VACUUM ANALYZE outbox_pending`} {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err)
		}
		empty := pending()
		require.Greater(t, empty.Bloat, 0.8)
		_, err := db.ExecContext(t.Context(), empty.Fix)
		require.NoError(t, err)
		require.Less(t, pending().Bytes, full.Bytes/4)
	})
}

// objects lists the definitions of all indexes.
func objects(t *testing.T, db *sql.DB, url string) (list []string) {
	t.Helper()
	query := `SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1`
	if strings.HasPrefix(url, "sqlite") {
		query = `SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY 1`
	}
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		list = append(list, text)
	}
	require.NoError(t, rows.Err())
	return list
}
