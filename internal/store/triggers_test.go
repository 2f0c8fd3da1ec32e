package store_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// A trigger that is gone or disabled is found, and what is said puts it right.
func TestTriggers(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		exec := func(query string) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		broken := func() (list []store.Trigger) {
			t.Helper()
			all, err := s.Triggers(t.Context())
			require.NoError(t, err)
			fills := 0
			for _, tr := range all {
				if tr.Fills {
					fills++
				}
				require.Equal(t, tr.State == store.TriggerOK, tr.Fix == "")
				if tr.State != store.TriggerOK {
					list = append(list, tr)
				}
			}
			require.Equal(t, 1, fills)
			return list
		}
		require.Empty(t, broken())
		before := testdb.Objects(t, db)
		all, err := s.Triggers(t.Context())
		require.NoError(t, err)
		for _, tr := range all {
			drop := `DROP TRIGGER ` + tr.Name
			if dialect, err := schema.DialectOf(db); err == nil && dialect == schema.PostgreSQL {
				drop += ` ON outbox`
				exec(`ALTER TABLE outbox DISABLE TRIGGER ` + tr.Name)
				found := broken()
				require.Len(t, found, 1)
				require.Equal(t, store.TriggerDisabled, found[0].State)
				exec(found[0].Fix)
				require.Empty(t, broken())
			}
			exec(drop)
			found := broken()
			require.Len(t, found, 1)
			require.Equal(t, tr.Name, found[0].Name)
			require.Equal(t, store.TriggerMissing, found[0].State)
			exec(found[0].Fix)
			require.Empty(t, broken())
		}
		require.Equal(t, len(before), len(testdb.Objects(t, db)))
		hanging(t, db)
		exec(`DELETE FROM outbox`)
		require.Empty(t, left(t, db))
		exec(`INSERT INTO outbox (topic, payload) VALUES ('t', '')`)
		require.Equal(t, "8pending", left(t, db))
	})
}

// A session that replays what happened elsewhere stores events as well, and a restore that switches triggers off and on leaves this one half on.
func TestEventsOfAReplicaSessionArePending(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	s := open(t, db)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	for _, query := range []string{`SET session_replication_role = replica`, `INSERT INTO outbox (topic, payload) VALUES ('t', '')`} {
		_, err := conn.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.Equal(t, "1pending", left(t, db))
	for _, query := range []string{`ALTER TABLE outbox DISABLE TRIGGER ALL`, `ALTER TABLE outbox ENABLE TRIGGER ALL`} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	list, err := s.Triggers(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.TriggerPartial, list[0].State)
	_, err = db.ExecContext(t.Context(), list[0].Fix)
	require.NoError(t, err)
	list, err = s.Triggers(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.TriggerOK, list[0].State)
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		hanging(t, db)
		found, err := s.Leftovers(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Leftovers{}, found)
		drop := `DROP TRIGGER outbox_deleted`
		if dialect, err := schema.DialectOf(db); err == nil && dialect == schema.PostgreSQL {
			drop += ` ON outbox`
		}
		for _, query := range []string{drop, `DELETE FROM outbox WHERE seq IN (1, 4, 7)`} {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err)
		}
		found, err = s.Leftovers(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int64{1, 2}, []int64{found.Pending, found.Deliveries})
		_, err = db.ExecContext(t.Context(), found.Fix)
		require.NoError(t, err)
		require.Equal(t, "2held 3held 5held 6waiting", left(t, db))
		found, err = s.Leftovers(t.Context())
		require.NoError(t, err)
		require.Empty(t, found)
	})
}
