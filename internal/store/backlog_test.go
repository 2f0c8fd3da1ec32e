package store_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// execute runs statements that every dialect understands.
func execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		_, err := db.ExecContext(context.Background(), text)
		require.NoError(t, err, text)
	}
}

// numbers is a common table expression with the numbers from 1 to n.
func numbers(n string) string {
	return `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + n + `) `
}

func count(list []store.Count, state store.State, name string) store.Count {
	for _, c := range list {
		if c.State == state && c.Name == name {
			return c
		}
	}
	return store.Count{}
}

func TestBacklogOfFewIsCounted(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db)
		b, err := s.Backlog(ctx, false)
		require.NoError(t, err)
		require.Empty(t, b.Span)
		require.Len(t, b.States, 5)
		for _, c := range b.States {
			require.Zero(t, c.Count)
			require.Zero(t, c.Oldest)
		}
		require.Empty(t, b.Destinations)
		require.InDelta(t, 1, b.Head, 0.001)

		execute(t, db, `INSERT INTO outbox (tenant_id, topic, payload, created_at) VALUES ('a', 'orders', '1', '2020-01-01T00:00:00.000000Z')`,
			numbers("9")+`INSERT INTO outbox (tenant_id, topic, payload) SELECT CASE WHEN i <= 4 THEN 'b' ELSE 'a' END, 'orders', '1' FROM n`,
			`DELETE FROM outbox_pending WHERE seq > 6`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, 'kafka://x',
				CASE seq WHEN 7 THEN 'waiting' WHEN 8 THEN 'held' WHEN 9 THEN 'dead' ELSE 'skipped' END FROM outbox WHERE seq > 6`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'y', slot, 'y', 'dead' FROM outbox WHERE seq = 9`)
		for _, exact := range []bool{false, true} {
			b, err = s.Backlog(ctx, exact)
			require.NoError(t, err)
			require.Empty(t, b.Span)
			require.Equal(t, int64(10), b.Last)
			require.Positive(t, b.Took)
			require.Greater(t, b.State(store.Pending).Oldest, 365*24*time.Hour)
			require.Less(t, b.State(store.Dead).Oldest, time.Hour)
			for state, want := range map[store.State]int64{store.Pending: 6, store.Waiting: 1, store.Held: 1, store.Dead: 2, store.Skipped: 1} {
				require.Equal(t, want, b.State(state).Count, state)
			}
			require.Len(t, b.Destinations, 5)
			require.Equal(t, int64(1), count(b.Destinations, store.Dead, "kafka://x").Count)
			require.Equal(t, int64(1), count(b.Destinations, store.Dead, "y").Count)
			require.Equal(t, int64(4), count(b.Tenants, store.Pending, "b").Count)
			require.Equal(t, int64(2), count(b.Tenants, store.Pending, "a").Count)
			require.Equal(t, int64(2), count(b.Tenants, store.Dead, "a").Count)
			require.Equal(t, int64(6), count(b.Topics, store.Pending, "orders").Count)
			require.Greater(t, count(b.Tenants, store.Pending, "a").Oldest, 365*24*time.Hour)
		}

		execute(t, db, `DELETE FROM outbox_pending`)
		b, err = s.Backlog(ctx, false)
		require.NoError(t, err)
		require.InDelta(t, 11, b.Head, 0.001)
	})
}

// sum adds up the counts of a state.
func sum(list []store.Count, state store.State) (n int64) {
	for _, c := range list {
		if c.State == state {
			n += c.Count
		}
	}
	return n
}

// Small states are counted beside large ones. Of a large one the distance of its numbers is known, and names of a part that is as large as the limit.
func TestBacklogOfMany(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		take := func(exact bool) store.Backlog {
			t.Helper()
			b, err := s.Backlog(t.Context(), exact)
			require.NoError(t, err)
			return b
		}
		// 60,000 events. The first 20,000 had their first pass, and every second one of the others. Of 12,000 each a delivery waits and another is held.
		execute(t, db, numbers("60000")+`INSERT INTO outbox (tenant_id, topic, payload, aggregate_id)
				SELECT CASE WHEN i % 4 < 2 THEN 'half' ELSE 'rest' END, 'orders', '{}', i FROM n`,
			`DELETE FROM outbox_pending WHERE seq <= 20000 OR seq % 2 = 0`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state)
				SELECT seq, 'x', slot, CASE WHEN seq % 3 = 0 THEN 'third' ELSE 'other' END, CASE WHEN seq <= 5 THEN 'dead' WHEN seq <= 9 THEN 'skipped' ELSE 'waiting' END
				FROM outbox WHERE seq <= 12009`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'y', slot, 'y', 'held' FROM outbox WHERE seq BETWEEN 101 AND 24100 AND seq % 2 = 0`)
		b := take(false)
		require.EqualValues(t, store.CountLimit, b.State(store.Pending).Count)
		require.EqualValues(t, store.CountLimit, b.State(store.Waiting).Count)
		require.EqualValues(t, store.CountLimit, b.State(store.Held).Count)
		require.EqualValues(t, 5, b.State(store.Dead).Count)
		require.EqualValues(t, 4, b.State(store.Skipped).Count)
		require.Equal(t, map[store.State]int64{store.Pending: 40000, store.Waiting: 24100, store.Held: 23999}, b.Span)
		require.InDelta(t, 20001, b.Head, 1000)
		for _, state := range []store.State{store.Pending, store.Waiting, store.Held} {
			require.LessOrEqual(t, sum(b.Tenants, state), int64(store.CountLimit))
			require.Greater(t, sum(b.Tenants, state), int64(store.CountLimit*9/10))
			require.Equal(t, sum(b.Tenants, state), sum(b.Topics, state))
			require.Positive(t, b.State(state).Oldest)
		}
		require.Equal(t, sum(b.Tenants, store.Held), count(b.Destinations, store.Held, "y").Count)
		require.InEpsilon(t, 5000, count(b.Tenants, store.Pending, "half").Count, 0.1, "a fair part")
		require.InEpsilon(t, 3333, count(b.Destinations, store.Waiting, "third").Count, 0.1)
		require.EqualValues(t, 1, count(b.Destinations, store.Dead, "third").Count)
		require.EqualValues(t, 2, count(b.Destinations, store.Skipped, "third").Count)

		b = take(true)
		require.Empty(t, b.Span)
		for state, want := range map[store.State]int64{store.Pending: 20000, store.Waiting: 12000, store.Held: 12000, store.Dead: 5, store.Skipped: 4} {
			require.Equal(t, want, b.State(state).Count, state)
			require.Equal(t, want, sum(b.Topics, state), state)
		}

		// The limit itself is counted.
		execute(t, db, `DELETE FROM outbox_pending WHERE seq > 40000`)
		b = take(false)
		require.EqualValues(t, store.CountLimit, b.State(store.Pending).Count)
		require.NotContains(t, b.Span, store.Pending)
		require.EqualValues(t, store.CountLimit, sum(b.Topics, store.Pending))

		// Skipped deliveries may be many for good, and hide nothing. They are looked for among the first 40,000.
		execute(t, db, `DELETE FROM outbox_deliveries WHERE target = 'y'`, `UPDATE outbox_deliveries SET state = 'skipped' WHERE state = 'waiting' AND seq > 20`)
		b = take(false)
		require.Equal(t, map[store.State]int64{store.Skipped: 12009}, b.Span)
		require.EqualValues(t, 11, b.State(store.Waiting).Count)
		execute(t, db, `UPDATE outbox_deliveries SET state = 'dead' WHERE seq < 12009`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'z', slot, 'z', 'dead' FROM outbox WHERE seq <= 30000`)
		b = take(false)
		require.Equal(t, map[store.State]int64{store.Dead: 30000, store.Skipped: 30000}, b.Span)
		require.EqualValues(t, 1, b.State(store.Skipped).Count)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Backlog(ctx, false)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestFleet(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db)
		f, err := s.Fleet(ctx)
		require.NoError(t, err)
		require.Empty(t, f.Forwarders)
		require.Empty(t, f.Free)
		require.NoError(t, s.Join(ctx, "g", "one", store.Filter{}, time.Hour))
		require.NoError(t, s.Join(ctx, "g", "two", store.Filter{}, -time.Hour))
		leases, err := s.Acquire(ctx, "g", "one", 5)
		require.NoError(t, err)
		f, err = s.Fleet(ctx)
		require.NoError(t, err)
		require.Len(t, f.Forwarders, 2)
		require.WithinDuration(t, time.Now(), f.Forwarders[0].Started, time.Minute)
		require.Equal(t, store.Forwarder{ID: "one", Group: "g", Started: f.Forwarders[0].Started, Alive: true, Slots: len(leases)}, f.Forwarders[0])
		require.Equal(t, "two", f.Forwarders[1].ID)
		require.False(t, f.Forwarders[1].Alive)
		all, err := s.Acquire(ctx, "g", "one", store.Slots)
		require.NoError(t, err)
		require.Equal(t, len(all), f.Free["g"])
	})
}
