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
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func partitioned(t testing.TB, size int64) *sql.DB {
	t.Helper()
	db := testdb.Open(t, testdb.PostgresDSN(t))
	m, err := schema.NewMigrator(db, schema.Config{PartitionSize: size})
	require.NoError(t, err)
	_, err = m.Up(t.Context())
	require.NoError(t, err)
	return db
}

func TestCleanerDropsPartitions(t *testing.T) {
	t.Parallel()
	db := partitioned(t, 10)
	for i := 1; i <= 27; i++ {
		publish(t, db, "orders", keyed(fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	first := newRecorder()
	first.setFail(func(_ string, m *message.Message) error {
		if n := string(m.Payload); n == `{"n":3}` || n == `{"n":14}` {
			return middleware.Permanent(errors.New("no"))
		}
		return nil
	})
	drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": first})
	require.Equal(t, map[string]int{"SENT": 25, "DEAD": 2}, statuses(t, db))

	names := func(c admin.Cleaned) (names []string) {
		for _, p := range c.Partitions {
			names = append(names, p.Name)
			require.Equal(t, int64(1), p.Kept)
		}
		return names
	}
	one := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond})
	dry, err := one.DryRun(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"outbox_p1", "outbox_p11"}, names(dry))
	require.Len(t, seqs(t, db), 27)
	result, err := one.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, names(dry), names(result))
	require.Zero(t, result.Removed, "the others wait for their partition")
	require.Equal(t, []int64{3, 14, 21, 22, 23, 24, 25, 26, 27}, seqs(t, db))

	// What moved to the default partition is delivered and removed as anywhere.
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	_, err = st.Replay(t.Context(), store.DeadFilter{Seqs: []int64{14}})
	require.NoError(t, err)
	second := newRecorder()
	drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": second})
	require.Equal(t, []string{`{"n":14}`}, second.payloads("orders"))
	result, err = one.Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, admin.Removed{Sent: 1}, result.Removed)
	require.Equal(t, []int64{3, 21, 22, 23, 24, 25, 26, 27}, seqs(t, db))

	// Of one tenant only, no partition can go.
	result, err = cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond, DeadRetention: time.Nanosecond, Tenants: []string{""}}).Once(t.Context())
	require.NoError(t, err)
	require.Equal(t, admin.Removed{Sent: 7, Dead: 1}, result.Removed)
	require.Empty(t, seqs(t, db))
}

// Partitions come and go while publishers and two forwarders are at work; every event is delivered once and in order.
func TestPartitionsComeAndGoBesideForwarders(t *testing.T) {
	t.Parallel()
	const writers, each, size = 4, 100, 20
	db := partitioned(t, size)
	got := newRecorder()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	for range 2 {
		f, err := forwarder.New(db, map[string]message.Publisher{"default": got}, forwarder.Config{}, logger(t))
		require.NoError(t, err)
		others.Go(func() {
			if err := f.Run(running); err != nil {
				t.Error(err)
			}
		})
	}
	dropped := 0
	one := cleaner(t, db, admin.CleanerConfig{Retention: time.Nanosecond})
	others.Go(func() {
		for running.Err() == nil {
			result, err := one.Once(running)
			if err != nil && running.Err() == nil {
				t.Error(err)
			}
			dropped += len(result.Partitions)
		}
	})
	var publishers sync.WaitGroup
	for w := range writers {
		publishers.Go(func() {
			for i := range each {
				publish(t, db, "orders", keyed(fmt.Sprint(w), fmt.Sprintf("%d-%d", w, i)))
			}
		})
	}
	publishers.Wait()
	await.That(t, func() bool { return len(got.payloads("orders")) >= writers*each })
	stop()
	others.Wait()
	next := make([]int, writers)
	for _, p := range got.payloads("orders") {
		var w, i int
		_, err := fmt.Sscanf(p, "%d-%d", &w, &i)
		require.NoError(t, err)
		require.Equal(t, next[w], i, "writer %d", w)
		next[w]++
	}
	require.Len(t, got.payloads("orders"), writers*each)
	drain(t, db, forwarder.Config{}, map[string]message.Publisher{"default": newRecorder()})
	result, err := one.Once(t.Context())
	require.NoError(t, err)
	dropped += len(result.Partitions)
	t.Logf("%d partitions dropped", dropped)
	require.Positive(t, dropped)
	require.Less(t, len(seqs(t, db)), 2*size)
}

func TestCleanerAddsPartitionsWhileItWaits(t *testing.T) {
	t.Parallel()
	db := partitioned(t, 10)
	for i := range 15 {
		publish(t, db, "orders", keyed(fmt.Sprint(i), "{}"))
	}
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	one := cleaner(t, db, admin.CleanerConfig{})
	go func() { done <- one.Run(ctx) }()
	await.That(t, func() bool {
		parts, err := st.Partitions(t.Context())
		return err == nil && len(parts) == 5
	})
	cancel()
	require.NoError(t, <-done)
}
