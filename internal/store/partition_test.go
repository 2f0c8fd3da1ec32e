package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func partitioned(t testing.TB, db *sql.DB, size int64) *sql.DB {
	t.Helper()
	m, err := schema.NewMigrator(db, schema.Config{PartitionSize: size})
	require.NoError(t, err)
	_, err = m.Up(context.Background())
	require.NoError(t, err)
	return db
}

// Some of the events are in partitions, and the last in the default one.
func TestStoreOnPartitions(t *testing.T) {
	t.Parallel()
	exercise(t, partitioned(t, testdb.Open(t, testdb.PostgresDSN(t)), 3))
}

func TestPartitionsAreAddedAhead(t *testing.T) {
	t.Parallel()
	db := partitioned(t, testdb.Open(t, testdb.PostgresDSN(t)), 10)
	s := open(t, db)
	ctx := t.Context()
	bounds := func() (list [][2]int64) {
		parts, err := s.Partitions(ctx)
		require.NoError(t, err)
		for _, p := range parts {
			list = append(list, [2]int64{p.From, p.To})
		}
		require.True(t, parts[len(parts)-1].Default())
		return list
	}
	insert := func(n int) {
		_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, $1)`, n)
		require.NoError(t, err)
	}
	require.Equal(t, [][2]int64{{1, 11}, {11, 21}, {21, 31}, {0, 0}}, bounds())
	added, err := s.AddPartitions(ctx, 2)
	require.NoError(t, err)
	require.Empty(t, added)
	insert(15)
	// Somebody is publishing all the while, and a report is running.
	writer, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = writer.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('t', '')`)
	require.NoError(t, err)
	_, err = s.AddPartitions(ctx, 2)
	require.ErrorContains(t, err, "lock timeout", "the new partition is so near that publishers would have to wait")
	require.NoError(t, writer.Commit())
	added, err = s.AddPartitions(ctx, 2)
	require.NoError(t, err)
	require.Len(t, added, 1)
	require.Equal(t, "outbox_p31", added[0].Name)
	require.Equal(t, [][2]int64{{1, 11}, {11, 21}, {21, 31}, {31, 41}, {0, 0}}, bounds())

	// When nobody came in time, the default partition has the rest, and partitions begin above what is given out.
	insert(44)
	var standard int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM outbox_default`).Scan(&standard))
	require.Equal(t, 20, standard)
	added, err = s.AddPartitions(ctx, 2)
	require.NoError(t, err)
	require.Len(t, added, 2)
	require.Equal(t, [][2]int64{{1, 11}, {11, 21}, {21, 31}, {31, 41}, {61, 71}, {71, 81}, {0, 0}}, bounds())
	insert(10)
	var all int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM outbox_pending p JOIN outbox e ON e.seq = p.seq AND e.slot = p.slot`).Scan(&all))
	require.Equal(t, 70, all)
	var indexes int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM pg_index WHERE indrelid = 'outbox_p61'::regclass AND indisvalid`).Scan(&indexes))
	require.Equal(t, 5, indexes)
}

// With partitions of a sensible size, new ones are added beside whoever writes.
func TestPartitionsAreAddedBesideWriters(t *testing.T) {
	t.Parallel()
	db := partitioned(t, testdb.Open(t, testdb.PostgresDSN(t)), 100_000)
	s := open(t, db)
	_, err := db.ExecContext(t.Context(), `SELECT setval('outbox_seq_seq', 150000)`)
	require.NoError(t, err)
	writer, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = writer.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '')`)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 { // one adds it, whoever comes first
		wg.Go(func() {
			// Each waits for the others, and gives up after a moment: it is called again then.
			_, err := s.AddPartitions(t.Context(), 2)
			for end := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), "lock timeout") && time.Now().Before(end); {
				_, err = s.AddPartitions(t.Context(), 2)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, writer.Commit())
	parts, err := s.Partitions(t.Context())
	require.NoError(t, err)
	require.Len(t, parts, 5)
	require.Equal(t, "outbox_p300001", parts[3].Name)
}

// A partition goes when all of it is old; what is not finished stays as it was.
func TestDropPartition(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := partitioned(t, testdb.Open(t, dsn), 10)
	s := open(t, db)
	ctx := t.Context()
	_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id, event_metadata)
		SELECT 't', '{"a":1}', 'a', n::text, '{"m":"x"}' FROM generate_series(1, 15) n`)
	require.NoError(t, err)
	for _, query := range []string{
		`DELETE FROM outbox_pending WHERE seq NOT IN (4, 14)`,
		`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 't', slot, 't', 'dead' FROM outbox WHERE seq = 6`,
		`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 't', slot, 't', 'waiting' FROM outbox WHERE seq = 7`,
	} {
		_, err := db.ExecContext(ctx, query)
		require.NoError(t, err)
	}
	parts, err := s.Partitions(ctx)
	require.NoError(t, err)
	view := func() (rows []string) {
		list, err := db.QueryContext(ctx, `SELECT e::text FROM outbox_events e WHERE seq IN (4, 6, 7) ORDER BY seq`)
		require.NoError(t, err)
		defer list.Close()
		for list.Next() {
			var row string
			require.NoError(t, list.Scan(&row))
			rows = append(rows, row)
		}
		require.NoError(t, list.Err())
		return rows
	}
	before := view()
	require.Len(t, before, 3)
	old := store.CleanupBatch{Sent: time.Now().Add(time.Hour)}

	_, _, err = s.DropPartition(ctx, store.CleanupBatch{Sent: time.Now().Add(-time.Hour)}, parts[0])
	require.ErrorIs(t, err, store.ErrPartitionInUse)
	_, _, err = s.DropPartition(ctx, store.CleanupBatch{}, parts[0])
	require.ErrorIs(t, err, store.ErrPartitionInUse, "everything is kept")
	_, _, err = s.DropPartition(ctx, old, parts[1])
	require.ErrorIs(t, err, store.ErrPartitionInUse, "numbers of it are still given out")
	_, _, err = s.DropPartition(ctx, old, parts[len(parts)-1])
	require.ErrorIs(t, err, store.ErrPartitionInUse, "the default partition")

	// Somebody who holds a lock is not waited for in a queue that others stand behind.
	writer, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = writer.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('late', '')`)
	require.NoError(t, err)
	hook := new(testdb.Hook)
	refused := make(chan struct{}, 100)
	hooked := open(t, testdb.Hooked(t, dsn, hook))
	hook.Before(func(_ context.Context, query string) error {
		if query == "begin" {
			refused <- struct{}{}
		}
		return nil
	})
	type answer struct {
		gone, kept int64
		err        error
	}
	done := make(chan answer)
	go func() {
		gone, kept, err := hooked.DropPartition(ctx, old, parts[0])
		done <- answer{gone, kept, err}
	}()
	for range 3 { // the look, and two tries
		<-refused
	}
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('meanwhile', '')`)
	require.NoError(t, err)
	require.NoError(t, writer.Commit())
	a := <-done
	require.NoError(t, a.err)
	require.Equal(t, int64(3), a.kept)
	require.Equal(t, before, view(), "in every column")
	var left, pending int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*), (SELECT count(*) FROM outbox_pending) FROM outbox`).Scan(&left, &pending))
	require.Equal(t, 3+5+2, left)
	require.Equal(t, 2+2, pending, "nothing becomes pending again")
	parts, err = s.Partitions(ctx)
	require.NoError(t, err)
	require.Equal(t, "outbox_p11", parts[0].Name)
	var there bool
	require.NoError(t, db.QueryRowContext(ctx, `SELECT to_regclass('outbox_p1') IS NOT NULL`).Scan(&there))
	require.False(t, there)

	// One that was taken out by a clean-up that died is found; a table that is only called so is not.
	for _, query := range []string{
		`CREATE TABLE outbox_private (a int)`, `CREATE TABLE outbox_p1 (a int)`, `COMMENT ON TABLE outbox_p1 IS 'watermill-outbox: detached'`,
	} {
		_, err := db.ExecContext(ctx, query)
		require.NoError(t, err)
	}
	require.NoError(t, s.DropDetached(ctx))
	require.NoError(t, db.QueryRowContext(ctx, `SELECT to_regclass('outbox_p1') IS NOT NULL`).Scan(&there))
	require.False(t, there)
	require.NoError(t, db.QueryRowContext(ctx, `SELECT to_regclass('outbox_private') IS NOT NULL`).Scan(&there))
	require.True(t, there)
}

// Who inserts into a partition holds a lock on the table itself, as the rule of writers' locks wants it.
func TestWritersOfPartitions(t *testing.T) {
	t.Parallel()
	db := partitioned(t, testdb.Open(t, testdb.PostgresDSN(t)), 10)
	s := open(t, db)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 40)`)
	require.NoError(t, err)
	writers, err := s.Writers(t.Context())
	require.NoError(t, err)
	require.Len(t, writers, 1)
	require.NotZero(t, writers[0].XID)
	require.NoError(t, tx.Rollback())
}
