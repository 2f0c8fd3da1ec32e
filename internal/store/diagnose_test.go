package store_test

import (
	"context"
	"database/sql"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func TestUnfinishedSinceFindsTheBoundary(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := t.Context()
		s := open(t, db)
		_, found, err := s.OldestAge(ctx)
		require.NoError(t, err)
		require.False(t, found)
		u, err := s.UnfinishedSince(ctx, time.Hour)
		require.NoError(t, err)
		require.Equal(t, store.Unfinished{}, u)
		now := time.Now().UTC()
		for i := range 100 { // an hour apart, with holes
			_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, created_at) VALUES ('t', '', $1)`,
				now.Add(-time.Duration(100-i)*time.Hour).Format("2006-01-02T15:04:05.000000Z"))
			require.NoError(t, err)
		}
		_, err = db.ExecContext(ctx, `DELETE FROM outbox WHERE seq % 7 = 0`)
		require.NoError(t, err)
		_, err = db.ExecContext(ctx, `DELETE FROM outbox_pending WHERE seq % 7 = 0 OR seq % 2 = 0`)
		require.NoError(t, err)
		for _, hours := range []int{0, 1, 2, 33, 50, 99, 100, 1000} {
			age := time.Duration(hours)*time.Hour + 30*time.Minute
			var want int64
			require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM outbox_pending WHERE seq <= $1`, 100-hours).Scan(&want))
			u, err := s.UnfinishedSince(ctx, age)
			require.NoError(t, err)
			require.Equal(t, want, u.Pending, "%d h", hours)
		}
		age, found, err := s.OldestAge(ctx)
		require.NoError(t, err)
		require.True(t, found)
		require.InDelta(t, 100*3600, age.Seconds(), 600)
	})
}

func TestLongTransactions(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	s := open(t, db)
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	var pid int
	require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid))
	mine := func() (found *store.LongTransaction) {
		list, err := s.LongTransactions(t.Context(), 0, false)
		require.NoError(t, err)
		for i := range list {
			if list[i].End == "SELECT pg_terminate_backend("+strconv.Itoa(pid)+");" {
				found = &list[i]
			}
		}
		return found
	}
	require.NotNil(t, mine())
	require.Contains(t, mine().Name, "idle in transaction")
	require.NoError(t, tx.Rollback())
	require.Nil(t, mine())
	list, err := s.LongTransactions(t.Context(), 1000*time.Hour, false)
	require.NoError(t, err)
	require.Empty(t, list)
}
