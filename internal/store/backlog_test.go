package store_test

import (
	"context"
	"database/sql"
	"strings"
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
		require.True(t, b.Exact())
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
			require.True(t, b.Exact())
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

// near asserts an estimate.
func near(t *testing.T, want int64, c store.Count) {
	t.Helper()
	require.False(t, c.Exact, "%+v", c)
	require.InEpsilon(t, want, c.Count, 0.25, "%+v", c)
}

func TestBacklogOfManyIsEstimated(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db)
		s.SetCountTime(time.Minute) // however busy the machine is
		// 60,000 events: the first 40,000 had their first pass, 15,000 of them failed and 5 are dead; the rest is pending.
		execute(t, db, numbers("60000")+`INSERT INTO outbox (tenant_id, topic, payload, aggregate_id)
				SELECT CASE WHEN i % 4 = 0 THEN 'small' ELSE 'large' END, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END, '{}', i FROM n`,
			`DELETE FROM outbox_pending WHERE seq <= 40000`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state)
				SELECT seq, 'x', slot, CASE WHEN seq % 3 = 0 THEN 'third' ELSE 'rest' END, CASE WHEN seq <= 5 THEN 'dead' ELSE 'waiting' END FROM outbox WHERE seq <= 15005`)
		b, err := s.Backlog(ctx, false)
		require.NoError(t, err)
		require.False(t, b.Exact())
		near(t, 20000, b.State(store.Pending))
		near(t, 15000, b.State(store.Waiting))
		require.Equal(t, int64(5), b.State(store.Dead).Count)
		require.True(t, b.State(store.Dead).Exact, "what is few is counted beside what is much")
		require.True(t, b.State(store.Skipped).Exact == false, "nothing lists skipped ones beside many others")
		near(t, 5000, count(b.Destinations, store.Waiting, "third"))
		near(t, 10000, count(b.Destinations, store.Waiting, "rest"))
		require.True(t, count(b.Destinations, store.Dead, "third").Exact)
		near(t, 5000, count(b.Tenants, store.Pending, "small"))
		near(t, 10000, count(b.Topics, store.Pending, "odd"))
		near(t, 7500, count(b.Topics, store.Waiting, "odd"))
		require.InDelta(t, 40000, b.Head, 1000)

		b, err = s.Backlog(ctx, true)
		require.NoError(t, err)
		require.True(t, b.Exact())
		require.Equal(t, int64(20000), b.State(store.Pending).Count)
		require.Equal(t, int64(15000), b.State(store.Waiting).Count)
		require.Equal(t, int64(5000), count(b.Tenants, store.Pending, "small").Count)

		// Events that nobody wanted may be many for good, and hide nothing.
		execute(t, db, `DELETE FROM outbox_pending WHERE seq > 100`, `UPDATE outbox_deliveries SET state = 'skipped' WHERE state = 'waiting' AND seq > 10`)
		b, err = s.Backlog(ctx, false)
		require.NoError(t, err)
		near(t, 14995, b.State(store.Skipped))
		near(t, 4998, count(b.Destinations, store.Skipped, "third"))
		near(t, 7498, count(b.Topics, store.Skipped, "odd"))
		for _, c := range append(b.Tenants, b.States...) {
			require.Equal(t, c.State != store.Skipped, c.Exact, "%+v", c)
		}
	})
}

// What is many for sure is not counted, and what is few beside it still is.
func TestBacklogOfManyDeliveries(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		s.SetCountTime(time.Minute)
		execute(t, db, numbers("60000")+`INSERT INTO outbox (tenant_id, topic, payload) SELECT CASE WHEN i % 4 = 0 THEN 'small' ELSE 'large' END, 'orders', '{}' FROM n`,
			`DELETE FROM outbox_pending`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state)
				SELECT seq, 'x', slot, 'x', CASE WHEN seq % 6000 = 1 THEN 'dead' WHEN seq % 5 = 2 THEN 'held' ELSE 'waiting' END FROM outbox`)
		b, err := s.Backlog(t.Context(), false)
		require.NoError(t, err)
		near(t, 47990, b.State(store.Waiting))
		near(t, 47990, count(b.Destinations, store.Waiting, "x"))
		near(t, 12000, b.State(store.Held))
		require.Equal(t, store.Count{State: store.Dead, Count: 10, Oldest: b.State(store.Dead).Oldest, Exact: true}, b.State(store.Dead))
		require.Positive(t, b.State(store.Waiting).Oldest)
		near(t, 12000, count(b.Tenants, store.Waiting, "small"))
		require.Zero(t, b.State(store.Pending).Count)
	})
}

// Where deleted rows in front make the look at the first entries slow, it is rare, and what is behind is looked at meanwhile.
func TestSlowHeadsAreLookedAtRarely(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		see := func() store.Backlog {
			t.Helper()
			b, err := s.Backlog(t.Context(), false)
			require.NoError(t, err)
			return b
		}
		execute(t, db, numbers("100")+`INSERT INTO outbox (topic, payload, created_at) SELECT 'orders', '{}', '2001-01-01T00:00:00.000000Z' FROM n`,
			numbers("100")+`INSERT INTO outbox (topic, payload, created_at) SELECT 'orders', '{}', '2011-01-01T00:00:00.000000Z' FROM n`)
		const year = 365 * 24 * time.Hour
		since := func(b store.Backlog) int {
			return time.Now().Add(-b.State(store.Pending).Oldest + 12*time.Hour).UTC().Year()
		}
		require.Equal(t, 2001, since(see()))
		require.Less(t, see().Took, time.Minute)
		s.SetHeadsTook(year)
		require.Equal(t, year, see().Took, "it is still known to be slow")

		// Those in front are done, and one of them comes late.
		execute(t, db, `DELETE FROM outbox_pending WHERE seq <= 100`)
		b := see()
		require.Equal(t, 2011, since(b))
		require.Greater(t, b.Head, 100.0)
		require.EqualValues(t, 100, b.State(store.Pending).Count)
		execute(t, db, `INSERT INTO outbox_pending (slot, seq) SELECT slot, seq FROM outbox WHERE seq = 7`)
		require.Equal(t, 2011, since(see()))
		require.EqualValues(t, 101, see().State(store.Pending).Count, "it is counted")
		b, err := s.Backlog(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, 2001, since(b), "exact is exact")
		s.SetHeadsTook(0)
		b = see()
		require.Equal(t, 2001, since(b))
		require.Less(t, b.Took, time.Minute)
	})
}

// A table that is full of rows that are deleted but not yet removed takes long to count.
func TestBacklogThatTakesTooLongToCountIsEstimated(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		execute(t, db, numbers("5000")+`INSERT INTO outbox (topic, payload) SELECT 'orders', '{}' FROM n`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, 'x', 'dead' FROM outbox`)
		s.SetCountTime(time.Nanosecond)
		b, err := s.Backlog(context.Background(), false)
		require.NoError(t, err)
		near(t, 5000, b.State(store.Pending))
		near(t, 5000, b.State(store.Dead))
		near(t, 5000, count(b.Destinations, store.Dead, "x"))

		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = s.Backlog(ctx, false)
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

// A look at the first entries that takes longer than it may is not tried again at once.
func TestEndlessHeadsAreLookedAtRarely(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	testdb.Migrated(t, testdb.Open(t, dsn))
	hook := new(testdb.Hook)
	s := open(t, testdb.Hooked(t, dsn, hook))
	looks := 0
	hook.Before(func(ctx context.Context, query string) error {
		if !strings.Contains(query, "WITH ORDINALITY") {
			return nil
		}
		looks++
		<-ctx.Done()
		return ctx.Err()
	})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := s.Backlog(ctx, false)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "deleted rows that vacuum cannot remove")
	}
	require.Equal(t, 1, looks)
}
