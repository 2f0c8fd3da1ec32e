package admin_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func cleaner(t testing.TB, db *sql.DB, cfg admin.CleanerConfig) *admin.Cleaner {
	t.Helper()
	if cfg.Pause == 0 {
		cfg.Pause = time.Microsecond
	}
	c, err := admin.NewCleaner(t.Context(), db, cfg, logger(t))
	require.NoError(t, err)
	return c
}

func seqs(t testing.TB, db *sql.DB) (list []int64) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT seq FROM outbox ORDER BY seq`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var seq int64
		require.NoError(t, rows.Scan(&seq))
		list = append(list, seq)
	}
	require.NoError(t, rows.Err())
	return list
}

// everyStatus stores seven events and returns a database where they have come as far as they can:
//
//	1 and 7 sent, 2 skipped, 3 dead, 4 dead and holding its key, 5 held behind it, 6 waiting for its second attempt;
//	and 8 that nobody has looked at
func everyStatus(t testing.TB, db *sql.DB) {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, db, schema.Config{})
	require.NoError(t, err)
	for i := 1; i <= 8; i++ {
		key := fmt.Sprint(i)
		if i == 5 {
			key = "4"
		}
		tenant := "acme"
		if i == 7 {
			tenant = "zoo"
		}
		_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, tenant_id, aggregate_type, aggregate_id) VALUES ('orders', '{}', $1, 'order', $2)`, tenant, key)
		require.NoError(t, err)
	}
	require.NoError(t, st.Join(ctx, "g", "me", store.Filter{}, time.Minute))
	leases, err := st.Acquire(ctx, "g", "me", 64)
	require.NoError(t, err)
	b := store.Settlement{Group: "g", Epochs: map[int]int64{}}
	for _, l := range leases {
		b.Epochs[l.Slot] = l.Epoch
	}
	var all []int64
	for i := int64(1); i <= 8; i++ {
		all = append(all, i)
	}
	events, err := st.Events(ctx, all, 0)
	require.NoError(t, err)
	for _, e := range events {
		key := store.KeyHash(e.TenantID, e.Key())
		d := store.Delivery{Seq: e.Seq, Slot: e.Slot, Target: "orders", Destination: "orders", Error: "why"}
		switch e.Seq {
		case 1, 7:
			b.Done = append(b.Done, store.Ref{Slot: e.Slot, Seq: e.Seq})
			continue
		case 8:
			continue
		case 2:
			d.State = store.Skipped
		case 3:
			d.State = store.Dead
		case 4:
			d.State, d.KeyHash = store.Dead, &key
		case 5:
			d.State, d.KeyHash = store.Held, &key
		case 6:
			d.State, d.KeyHash, d.Attempts, d.Wait = store.Waiting, &key, 1, 3600
		}
		b.Passed, b.New = append(b.Passed, store.Ref{Slot: e.Slot, Seq: e.Seq}), append(b.New, d)
	}
	_, err = st.Settle(ctx, b)
	require.NoError(t, err)
	require.NoError(t, st.Leave(ctx, "me"))
	require.Equal(t, map[string]int{"NEW": 2, "SENT": 2, "SKIPPED": 1, "DEAD": 2, "FAILED": 1}, statuses(t, db))
}

func TestCleanerRemovesWhatIsFinishedAndOld(t *testing.T) {
	t.Parallel()
	const now = time.Nanosecond
	for name, c := range map[string]struct {
		cfg     admin.CleanerConfig
		removed admin.Removed
		held    int64
		left    []int64
	}{
		"nothing is old":    {admin.CleanerConfig{}, admin.Removed{}, 0, []int64{1, 2, 3, 4, 5, 6, 7, 8}},
		"dead ones stay":    {admin.CleanerConfig{Retention: now}, admin.Removed{Sent: 2, Skipped: 1}, 0, []int64{3, 4, 5, 6, 8}},
		"dead ones go":      {admin.CleanerConfig{Retention: now, DeadRetention: now}, admin.Removed{Sent: 2, Skipped: 1, Dead: 1}, 1, []int64{4, 5, 6, 8}},
		"only dead ones":    {admin.CleanerConfig{Retention: admin.Forever, DeadRetention: now}, admin.Removed{Dead: 1}, 1, []int64{1, 2, 4, 5, 6, 7, 8}},
		"only sent ones":    {admin.CleanerConfig{Retention: now, SkippedRetention: admin.Forever}, admin.Removed{Sent: 2}, 0, []int64{2, 3, 4, 5, 6, 8}},
		"skipped ones wait": {admin.CleanerConfig{Retention: now, SkippedRetention: time.Hour}, admin.Removed{Sent: 2}, 0, []int64{2, 3, 4, 5, 6, 8}},
		"of a tenant":       {admin.CleanerConfig{Retention: now, DeadRetention: now, Tenants: []string{"zoo", "none"}}, admin.Removed{Sent: 1}, 0, []int64{1, 2, 3, 4, 5, 6, 8}},
		"nothing at all": {admin.CleanerConfig{Retention: admin.Forever, SkippedRetention: admin.Forever}, admin.Removed{}, 0,
			[]int64{1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				everyStatus(t, db)
				for _, batch := range []int{1, 3, 5000} {
					cfg := c.cfg
					cfg.BatchSize = batch
					dry, err := cleaner(t, db, cfg).DryRun(t.Context())
					require.NoError(t, err)
					require.Equal(t, c.removed, dry.Removed, "batches of %d", batch)
					require.Equal(t, c.held, dry.Held)
				}
				require.Len(t, seqs(t, db), 8, "a dry run changes nothing")
				cfg := c.cfg
				cfg.BatchSize = 2
				one := cleaner(t, db, cfg)
				result, err := one.Once(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.removed, result.Removed)
				require.Equal(t, c.held, result.Held)
				require.Equal(t, c.left, seqs(t, db))
				again, err := one.Once(t.Context())
				require.NoError(t, err)
				require.Equal(t, admin.Removed{}, again.Removed)
				require.Equal(t, c.left, seqs(t, db))
				var orphans int
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_deliveries WHERE seq NOT IN (SELECT seq FROM outbox)`).Scan(&orphans))
				require.Zero(t, orphans)
			})
		})
	}
}

// What was kept is removed once it is finished, and numbers go on.
func TestCleanerComesBackToWhatItKept(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		everyStatus(t, db)
		one := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond, BatchSize: 2})
		_, err := one.Once(t.Context())
		require.NoError(t, err)
		st, err := store.Open(t.Context(), db, schema.Config{})
		require.NoError(t, err)
		_, err = st.Replay(t.Context(), store.DeadFilter{})
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `UPDATE outbox_deliveries SET due = created_at`)
		require.NoError(t, err)
		for range 2 { // what a delivery holds may be due only after the first look
			drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": newRecorder()})
		}
		require.Equal(t, map[string]int{"SENT": 5}, statuses(t, db))
		result, err := one.Once(t.Context())
		require.NoError(t, err)
		require.Equal(t, admin.Removed{Sent: 5}, result.Removed)
		last, err := st.LastCleanup(t.Context())
		require.NoError(t, err)
		require.Empty(t, last.Owner)
		require.Equal(t, result.Removed, admin.Removed(last.Removed))
		require.False(t, last.FinishedAt.Before(last.StartedAt))
		publish(t, db, "orders", keyed("4", "{}"))
		require.Equal(t, []int64{9}, seqs(t, db))
		result, err = one.Once(t.Context())
		require.NoError(t, err)
		require.Zero(t, result.Removed.Total(), "pending")
	})
}

// An event in the future, or one that was dated back, does not stop the others.
func TestCleanerPassesOddTimes(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		for i, at := range []string{"2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", "2020-01-02T00:00:00.000000Z", "infinity", "2020-01-03T00:00:00.000000Z", "-infinity"} {
			if dialect(db) == schema.SQLite && i%2 == 1 {
				at = "2999-01-01T00:00:00.000000Z"
			}
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, created_at) VALUES ('t', '', $1)`, at)
			require.NoError(t, err)
		}
		_, err := db.ExecContext(t.Context(), `DELETE FROM outbox_pending`)
		require.NoError(t, err)
		result, err := cleaner(t, db, admin.CleanerConfig{BatchSize: 2}).Once(t.Context())
		require.NoError(t, err)
		want := []int64{2, 4}
		if dialect(db) == schema.SQLite {
			want = []int64{2, 4, 6}
		}
		require.Equal(t, want, seqs(t, db))
		require.Equal(t, int64(6-len(want)), result.Removed.Sent)
	})
}

func TestOneCleanerAtATime(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		everyStatus(t, db)
		var once sync.Once
		second := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond})
		first := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond, BatchSize: 1, Progress: func(admin.CleanerProgress) {
			once.Do(func() {
				_, err := second.Once(t.Context())
				require.ErrorIs(t, err, store.ErrCleanupRunning)
				require.ErrorContains(t, err, "process")
				_, err = second.DryRun(t.Context())
				require.NoError(t, err)
			})
		}})
		_, err := first.Once(t.Context())
		require.NoError(t, err)
		_, err = second.Once(t.Context())
		require.NoError(t, err)

		// One whose lease has ended is taken over, and stops.
		publish(t, db, "orders", keyed("1", "{}"), keyed("2", "{}"))
		_, err = db.ExecContext(t.Context(), `DELETE FROM outbox_pending`)
		require.NoError(t, err)
		once = sync.Once{}
		robbed := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond, BatchSize: 1, Progress: func(admin.CleanerProgress) {
			once.Do(func() {
				_, err := db.ExecContext(t.Context(), `UPDATE outbox_cleanup SET expires_at = '2020-01-01T00:00:00.000000Z'`)
				require.NoError(t, err)
				_, err = second.Once(t.Context())
				require.NoError(t, err)
			})
		}})
		_, err = robbed.Once(t.Context())
		require.ErrorIs(t, err, store.ErrCleanupLost)
	})
}

func TestCleanerStopsWithItsContext(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		everyStatus(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		one := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond, BatchSize: 1, Progress: func(admin.CleanerProgress) { cancel() }})
		result, err := one.Once(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, int64(1), result.Removed.Sent)
		result, err = one.Once(t.Context())
		require.NoError(t, err, "it is not closed to others")
		require.Equal(t, int64(1), result.Removed.Sent)
	})
}

func TestCleanerRunsOnASchedule(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		everyStatus(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		runs := make(chan struct{})
		one := cleaner(t, db, admin.CleanerConfig{Every: time.Millisecond, Retention: time.Nanosecond, Progress: func(admin.CleanerProgress) {
			select {
			case runs <- struct{}{}:
			case <-ctx.Done():
			}
		}})
		done := make(chan error, 1)
		go func() { done <- one.Run(ctx) }()
		<-runs
		<-runs
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, []int64{3, 4, 5, 6, 8}, seqs(t, db))
	})
}

// Cleaning while a dead letter is replayed: it goes, or it is delivered, and nothing between.
func TestCleanerAndReplay(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	const events = 300
	for i := range events {
		publish(t, db, "orders", keyed(fmt.Sprint(i), "{}"))
	}
	refusing := newRecorder()
	refusing.setFail(func(string, *message.Message) error { return middleware.Permanent(errors.New("no")) })
	drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": refusing})
	require.Equal(t, map[string]int{"DEAD": events}, statuses(t, db))
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	var replayed int
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := int64(events); i > 0; i -= 10 {
			var some []int64
			for n := i; n > i-10; n-- {
				some = append(some, n)
			}
			n, err := st.Replay(context.Background(), store.DeadFilter{Seqs: some})
			if err != nil {
				t.Error(err)
			}
			replayed += n
		}
	})
	result, err := cleaner(t, db, admin.CleanerConfig{DeadRetention: time.Nanosecond, BatchSize: 10, Pause: time.Millisecond}).Once(t.Context())
	wg.Wait()
	require.NoError(t, err)
	t.Logf("%d replayed, %d removed", replayed, result.Removed.Dead)
	require.Equal(t, events, replayed+int(result.Removed.Dead))
	require.Len(t, seqs(t, db), replayed)
	got := newRecorder()
	drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": got})
	require.Len(t, got.payloads("orders"), replayed)
}

func TestCleanerConfigFaults(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	_, err := admin.NewCleaner(t.Context(), db, admin.CleanerConfig{Retention: -time.Hour, At: "2 am", BatchSize: -1, Pause: -1}, nil)
	for _, part := range []string{"Retention is -1h", `At is "2 am"`, "BatchSize is -1", "Pause is -1ns"} {
		require.ErrorContains(t, err, part)
	}
	_, err = admin.NewCleaner(t.Context(), nil, admin.CleanerConfig{}, nil)
	require.ErrorContains(t, err, "database is nil")
}
