package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// hanging stores seven events: 1 and 4 hold a key for target t, as a dead one and one that waits, 2, 3 and 5 are held behind them, 6 is delayed, and 7 is
// pending.
func hanging(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, query := range []string{
		`INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('t', '', 'a', '1'), ('t', '', 'a', '1'), ('t', '', 'a', '1'),
			('t', '', 'a', '2'), ('t', '', 'a', '2'), ('t', '', 'a', '3'), ('t', '', 'a', '4')`,
		`INSERT INTO outbox_deliveries (seq, target, slot, key_hash, destination, state)
			SELECT seq, 't', slot, CASE WHEN seq < 4 THEN 1 WHEN seq < 6 THEN 2 END, 't',
				CASE seq WHEN 1 THEN 'dead' WHEN 4 THEN 'waiting' WHEN 6 THEN 'waiting' ELSE 'held' END FROM outbox WHERE seq < 7`,
		`DELETE FROM outbox_pending WHERE seq < 7`,
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
}

// left lists what hangs on events, as 4waiting.
func left(t *testing.T, db *sql.DB) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT seq, state FROM outbox_deliveries UNION ALL SELECT seq, 'pending' FROM outbox_pending ORDER BY 1, 2`)
	require.NoError(t, err)
	defer rows.Close()
	var list []string
	for rows.Next() {
		var seq int
		var state string
		require.NoError(t, rows.Scan(&seq, &state))
		list = append(list, fmt.Sprint(seq, state))
	}
	require.NoError(t, rows.Err())
	return strings.Join(list, " ")
}

func TestWhatHangsOnAnEventGoesWithIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ delete, left string }{
		{`DELETE FROM outbox WHERE seq = 1`, "2waiting 3held 4waiting 5held 6waiting 7pending"},
		{`DELETE FROM outbox WHERE seq IN (1, 2)`, "3waiting 4waiting 5held 6waiting 7pending"},
		{`DELETE FROM outbox WHERE seq = 2`, "1dead 3held 4waiting 5held 6waiting 7pending"},
		{`DELETE FROM outbox WHERE seq = 3`, "1dead 2held 4waiting 5held 6waiting 7pending"},
		{`DELETE FROM outbox WHERE seq IN (4, 6, 7)`, "1dead 2held 3held 5waiting"},
		{`DELETE FROM outbox WHERE seq > 99`, "1dead 2held 3held 4waiting 5held 6waiting 7pending"},
		{`DELETE FROM outbox`, ""},
	} {
		t.Run(test.delete, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				hanging(t, db)
				_, err := db.ExecContext(t.Context(), test.delete)
				require.NoError(t, err)
				require.Equal(t, test.left, left(t, db))
			})
		})
	}
}

// A session that acts as a replica, as tools for bulk work do, deletes like any other.
func TestWhatAReplicaSessionDeletesGoesWithIt(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	hanging(t, db)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	for _, query := range []string{`SET session_replication_role = replica`, `DELETE FROM outbox WHERE seq = 1`} {
		_, err = conn.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.Equal(t, "2waiting 3held 4waiting 5held 6waiting 7pending", left(t, db))
	_, err = conn.ExecContext(t.Context(), `TRUNCATE outbox`)
	require.NoError(t, err)
	require.Empty(t, left(t, db))
}

// Numbers are not given out again: consumers know events by them, and what was in flight settles them.
func TestTruncateTakesAllAlongAndNumbersGoOn(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 5} {
		for _, truncate := range []string{`TRUNCATE outbox`, `TRUNCATE outbox RESTART IDENTITY`} {
			t.Run(fmt.Sprint(truncate, size), func(t *testing.T) {
				t.Parallel()
				db := testdb.Open(t, testdb.PostgresDSN(t))
				m, err := schema.NewMigrator(db, schema.Config{PartitionSize: size})
				require.NoError(t, err)
				_, err = m.Up(t.Context())
				require.NoError(t, err)
				hanging(t, db)
				for want := int64(8); want < 10; want++ {
					_, err = db.ExecContext(t.Context(), truncate)
					require.NoError(t, err)
					require.Empty(t, left(t, db))
					var seq int64
					require.NoError(t, db.QueryRowContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '') RETURNING seq`).Scan(&seq))
					require.Equal(t, want, seq)
				}
			})
		}
	}
	t.Run("of an empty table", func(t *testing.T) {
		t.Parallel()
		db := testdb.Postgres(t)
		_, err := db.ExecContext(t.Context(), `TRUNCATE outbox RESTART IDENTITY`)
		require.NoError(t, err)
		var seq int64
		require.NoError(t, db.QueryRowContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '') RETURNING seq`).Scan(&seq))
		require.Equal(t, int64(1), seq)
	})
}

// Who may delete events needs no rights on what hangs on them, and can use the trigger for nothing else.
func TestWhoMayDeleteEventsMayForgetWhatHangsOnThem(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDatabase(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	hanging(t, db)
	role := newRole(t, db, `GRANT USAGE, CREATE ON SCHEMA public TO ROLE`, `GRANT SELECT, DELETE ON outbox TO ROLE`)
	janitor := testdb.Open(t, as(t, dsn, role))
	for _, query := range []string{ // a search_path of somebody who means harm
		`SET search_path = evil, pg_catalog`, `DELETE FROM public.outbox WHERE seq = 1`,
	} {
		_, err := janitor.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.Equal(t, "2waiting 3held 4waiting 5held 6waiting 7pending", left(t, db))
	for _, query := range []string{
		`CREATE TABLE public.own (seq bigint, slot int)`,
		`CREATE TRIGGER t AFTER TRUNCATE ON public.own FOR EACH STATEMENT EXECUTE FUNCTION public.outbox_forget()`,
	} {
		_, err := janitor.ExecContext(t.Context(), query)
		if strings.HasPrefix(query, "CREATE TRIGGER") {
			require.ErrorContains(t, err, "permission denied")
		} else {
			require.NoError(t, err)
		}
	}
}

// newRole makes a role that may log in, and runs grants, in which ROLE stands for it.
func newRole(t *testing.T, db *sql.DB, grants ...string) string {
	t.Helper()
	var role string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT 'role_' || md5(random()::text)`).Scan(&role))
	_, err := db.ExecContext(t.Context(), `CREATE ROLE `+role+` LOGIN`)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, query := range []string{`DROP OWNED BY `, `DROP ROLE `} {
			_, err := db.ExecContext(context.Background(), query+role)
			require.NoError(t, err)
		}
	})
	for _, grant := range grants {
		_, err := db.ExecContext(t.Context(), strings.ReplaceAll(grant, "ROLE", role))
		require.NoError(t, err, grant)
	}
	return role
}

// as returns dsn for another role.
func as(t *testing.T, dsn, role string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.User(role)
	return u.String()
}

// An event may be deleted while it is in flight: nothing of it must come back.
func TestSettlingAnEventThatIsGone(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := t.Context()
		s := open(t, db)
		hanging(t, db)
		_, err := db.ExecContext(ctx, `UPDATE outbox_deliveries SET target = $1 WHERE seq = 6`, store.Unrouted)
		require.NoError(t, err)
		require.NoError(t, s.Join(ctx, "g", "me", store.Filter{}, time.Minute))
		leases, err := s.Acquire(ctx, "g", "me", 64)
		require.NoError(t, err)
		epochs := map[int]int64{}
		for _, l := range leases {
			epochs[l.Slot] = l.Epoch
		}
		slots := map[int64]int{}
		for seq := range int64(8) {
			var slot int
			if err := db.QueryRowContext(ctx, `SELECT slot FROM outbox WHERE seq = $1`, seq).Scan(&slot); err == nil {
				slots[seq] = slot
			}
		}
		_, err = db.ExecContext(ctx, `DELETE FROM outbox`)
		require.NoError(t, err)
		key := int64(1)
		row := func(seq int64, state store.State) store.Delivery {
			return store.Delivery{Seq: seq, Slot: slots[seq], Target: "t", KeyHash: &key, Destination: "t", State: state, Attempts: 1, Wait: 1}
		}
		_, err = s.Settle(ctx, store.Settlement{
			Group: "g", Epochs: epochs, Passed: []store.Ref{{Slot: slots[7], Seq: 7}}, Done: []store.Ref{{Slot: slots[7], Seq: 7}},
			New:    []store.Delivery{row(7, store.Waiting), row(6, store.Waiting), row(6, store.Held)},
			Failed: []store.Delivery{row(1, store.Waiting), row(4, store.Dead)},
			Ended:  []store.Delivery{row(2, "")},
			Routed: []store.Delivery{{Seq: 6, Slot: slots[6], Target: store.Unrouted}},
			Freed:  []store.HeldKey{{Slot: slots[1], Target: "t", KeyHash: 1}},
		})
		require.NoError(t, err)
		require.Empty(t, left(t, db))
	})
}
