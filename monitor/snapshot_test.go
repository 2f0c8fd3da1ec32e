package monitor_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		m, st := open(t, db, monitor.Config{}), storeOf(t, db)
		s := take(t, m)
		require.True(t, s.Exact())
		require.Zero(t, s.Totals)
		require.Nil(t, s.Rates, "nothing to compare with")
		text, err := json.Marshal(s)
		require.NoError(t, err)
		require.NotContains(t, strings.Replace(string(text), `"rates":null`, "", 1), "null", "lists are empty, not null")

		execute(t, db, numbers("30")+`INSERT INTO outbox (tenant_id, topic, payload) SELECT CASE WHEN i <= 20 THEN 'acme' ELSE 'zoo' END, 'orders', '1' FROM n`,
			`DELETE FROM outbox_pending WHERE seq > 20`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, CASE WHEN seq < 27 THEN 'kafka://a' ELSE 'kafka://b' END,
				CASE seq WHEN 21 THEN 'waiting' WHEN 22 THEN 'held' WHEN 23 THEN 'dead' WHEN 24 THEN 'skipped' ELSE 'held' END FROM outbox WHERE seq > 20`)
		require.NoError(t, st.Pause(ctx, store.PausedTenant, "zoo", "maintenance"))
		require.NoError(t, st.Pause(ctx, store.Unreachable, "kafka://a", "connection refused"))
		require.NoError(t, st.Join(ctx, "g", "me", store.Filter{}, time.Hour))
		leases, err := st.Acquire(ctx, "g", "me", 1)
		require.NoError(t, err)

		s = take(t, m)
		require.Equal(t, monitor.Totals{Pending: 20, Waiting: 1, Held: 7, Dead: 1, Skipped: 1}, s.Totals)
		require.Equal(t, int64(27), s.Backlog())
		require.Equal(t, int64(30), s.Inserted)
		require.Positive(t, s.OldestSeconds)
		require.Positive(t, s.QueryMillis)
		require.Len(t, s.Destinations, 2)
		require.Equal(t, "kafka://a", s.Destinations[0].Name)
		require.Equal(t, monitor.Totals{Waiting: 1, Held: 3, Dead: 1, Skipped: 1}, s.Destinations[0].Totals)
		require.Equal(t, "acme", s.Tenants[0].Name)
		require.Equal(t, monitor.Totals{Pending: 20}, s.Tenants[0].Totals)
		require.Equal(t, "orders", s.Topics[0].Name)
		require.Equal(t, "zoo", s.Paused[0].Name)
		require.Equal(t, "kafka://a", s.Unreachable[0].Name)
		require.Equal(t, []monitor.Forwarder{{ID: "me", Group: "g", Started: s.Forwarders[0].Started, Alive: true, Slots: len(leases)}}, s.Forwarders)
		require.Equal(t, st.SlotCount()-1, s.FreeSlots)
		require.NotZero(t, s.Pool.Open)
	})
}

// One name in a snapshot never stands for two, whatever tenants are called.
func TestSnapshotNamesTheLargest(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	for i := range 6 {
		execute(t, db, numbers(fmt.Sprint(i+1))+fmt.Sprintf(`INSERT INTO outbox (tenant_id, topic, payload) SELECT '%s', 't', '1' FROM n`,
			[]string{"a", "b", "c", "d", "e", monitor.Others}[i]))
	}
	s := take(t, open(t, db, monitor.Config{Top: 2}))
	require.Len(t, s.Tenants, 3)
	require.Equal(t, "e", s.Tenants[0].Name)
	require.Equal(t, "d", s.Tenants[1].Name)
	require.Equal(t, monitor.Others, s.Tenants[2].Name)
	require.Equal(t, int64(1+2+3+6), s.Tenants[2].Totals.Pending)
}

func TestRates(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		m := open(t, db, monitor.Config{})
		insert := func(n int) {
			execute(t, db, numbers(fmt.Sprint(n))+`INSERT INTO outbox (topic, payload, aggregate_id) SELECT 'orders', '1', i FROM n`)
		}
		// apart waits until two snapshots are far enough from each other to have a rate.
		apart := func() monitor.Snapshot {
			var s monitor.Snapshot
			begin := time.Now()
			await.That(t, func() bool { return time.Since(begin) > 60*time.Millisecond })
			s = take(t, m)
			require.NotNil(t, s.Rates)
			return s
		}
		insert(1000)
		take(t, m)
		insert(300)
		execute(t, db, `DELETE FROM outbox_pending WHERE seq <= 500`)
		s := apart()
		require.InDelta(t, 300, s.Rates.In*s.Rates.OverSeconds, 0.01)
		require.InDelta(t, 500, s.Rates.Out*s.Rates.OverSeconds, 0.01)

		// Too many to count them: the heads of the slots tell.
		insert(40000)
		require.False(t, apart().Exact())
		execute(t, db, `DELETE FROM outbox_pending WHERE seq <= 20500`)
		s = apart()
		require.False(t, s.Exact())
		require.Zero(t, s.Rates.In)
		require.InEpsilon(t, 20000, s.Rates.Out*s.Rates.OverSeconds, 0.1)

		points := m.History()
		require.Len(t, points, 4)
		require.Equal(t, int64(1000), points[0].Backlog)
		require.Equal(t, s.Rates.Out, points[3].Out)
	})
}

func TestRecentAsksOnceAnInterval(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	m := open(t, db, monitor.Config{Interval: time.Hour})
	first, err := m.Recent(context.Background())
	require.NoError(t, err)
	execute(t, db, `INSERT INTO outbox (topic, payload) VALUES ('t', '1')`)
	second, err := m.Recent(context.Background())
	require.NoError(t, err)
	require.Equal(t, first.Time, second.Time)
	require.Equal(t, int64(1), take(t, m).Totals.Pending)

	// So does a failure: a database in trouble is not asked by everybody.
	require.NoError(t, db.Close())
	_, err = m.Take(context.Background())
	require.Error(t, err)
	_, again := m.Recent(context.Background())
	require.Equal(t, err, again)
}

// Where deleted rows in front make a snapshot slow, the next one is not taken at once, whether it came to its end or not.
func TestSlowSnapshotsAreTakenRarely(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	testdb.Migrated(t, testdb.Open(t, dsn))
	hook := new(testdb.Hook)
	m := open(t, testdb.Hooked(t, dsn, hook), monitor.Config{Interval: 100 * time.Millisecond, Timeout: 500 * time.Millisecond})
	asked := make(chan struct{}, 100)
	hook.Before(func(ctx context.Context, query string) error {
		if strings.Contains(query, "json_agg") { // the first pending entries
			asked <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	begin := time.Now()
	await.That(t, func() bool { // 10 s would have to pass for the second one
		_, err := m.Recent(t.Context())
		return errors.Is(err, context.DeadlineExceeded) && time.Since(begin) > time.Second
	})
	require.Len(t, asked, 1)
	hook.Before(nil)
	require.Equal(t, int64(0), take(t, m).Totals.Pending, "who asks for one now gets one")
}

func TestWatchLogsAlerts(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	log := &lines{added: make(chan string, 100)}
	m, err := monitor.New(context.Background(), db, monitor.Config{Interval: 100 * time.Millisecond}, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Watch(ctx) }()
	require.Equal(t, "Alert: No forwarder is alive; 0 events and deliveries wait.", <-log.added)
	require.NoError(t, storeOf(t, db).Join(ctx, "g", "me", store.Filter{}, time.Hour))
	require.Equal(t, "Alert is over: No forwarder is alive; 0 events and deliveries wait.", <-log.added)
	require.NoError(t, db.Close())
	require.Equal(t, "Cannot look at the outbox", <-log.added)
	cancel()
	<-ended
	require.Empty(t, log.added, "each once")
}

func TestNewWrongConfig(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	_, err := monitor.New(context.Background(), db, monitor.Config{
		Interval: time.Millisecond, Timeout: -1, Top: -1,
		Thresholds: monitor.Thresholds{BacklogWarning: 10, BacklogCritical: 5, PoolUse: 90, DeadWarning: 7, DeadCritical: 6},
	}, nil)
	require.Error(t, err)
	for _, want := range []string{"Interval 1ms", "Timeout -1ns", "Top -1", "BacklogWarning 10: must not be more than BacklogCritical 5", "PoolUse 90", "DeadWarning 7"} {
		require.ErrorContains(t, err, want)
	}
	_, err = monitor.New(context.Background(), testdb.SQLite(t), monitor.Config{Schema: schema.Config{Names: schema.Names{Prefix: "none"}}}, nil)
	require.ErrorIs(t, err, schema.ErrSchema)
}
