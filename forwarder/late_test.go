package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// noSweep leaves everything to the rule of writers' locks.
func noSweep() forwarder.SubscriberConfig {
	return forwarder.SubscriberConfig{SweepInterval: time.Hour, Lease: 6 * time.Second}
}

// start runs a forwarder until the test ends.
func start(t testing.TB, db *sql.DB, cfg forwarder.SubscriberConfig, pub message.Publisher) *forwarder.Forwarder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": pub}, forwarder.Config{Subscriber: cfg}, logger(t))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return f
}

func begin(t testing.TB, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func publishIn(t testing.TB, tx *sql.Tx, topic string, msgs ...*message.Message) {
	t.Helper()
	p, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish(topic, msgs...))
}

func execute(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query, args...)
	require.NoError(t, err)
}

// arrives waits for payload and returns how long that took.
func (r *recorder) arrives(t testing.TB, topic, payload string) time.Duration {
	t.Helper()
	from := time.Now()
	await.That(t, func() bool { return slices.Contains(r.payloads(topic), payload) }, "%s did not arrive", payload)
	return time.Since(from)
}

func (r *recorder) count(topic string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got[topic])
}

func TestLateCommitIsDeliveredAtOnce(t *testing.T) {
	t.Parallel()
	const others = 3000
	for name, finish := range map[string]func(t *testing.T, db *sql.DB, tx *sql.Tx, id string){
		"commit": func(t *testing.T, _ *sql.DB, tx *sql.Tx, _ string) { require.NoError(t, tx.Commit()) },
		"commit prepared": func(t *testing.T, db *sql.DB, tx *sql.Tx, id string) {
			execute(t, db, "COMMIT PREPARED '"+id+"'")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.Postgres(t)
			rec := newRecorder()
			start(t, db, noSweep(), rec)
			publish(t, db, "others", keyed("x", "first"))
			rec.arrives(t, "others", "first")

			late := begin(t, db)
			publishIn(t, late, "late", keyed("late", "1"), keyed("late", "2"))
			for range others / 100 {
				var batch []*message.Message
				for i := range 100 {
					batch = append(batch, keyed(fmt.Sprint(i), "x"))
				}
				publish(t, db, "others", batch...)
			}
			id := t.Name()
			if name == "commit prepared" {
				execute(t, late, "PREPARE TRANSACTION '"+id+"'")
				require.NoError(t, late.Commit()) // nothing is open any more: a warning
				t.Cleanup(func() { _, _ = db.Exec("ROLLBACK PREPARED '" + id + "'") })
			}
			// Everything above the late numbers has been read and settled, so the head is far above them.
			await.That(t, func() bool { return rec.count("others") == others+1 })
			publish(t, db, "others", keyed("x", "last"))
			rec.arrives(t, "others", "last")
			require.Zero(t, rec.count("late"))

			finish(t, db, late, id)
			t.Logf("found after %s", rec.arrives(t, "late", "2"))
			require.Equal(t, []string{"1", "2"}, rec.payloads("late"))
		})
	}
}

// A writer ends after the reader listed it as open, and another, which waited for it, commits before the reader reads. What the second
// wrote must not go out before the first, which is below the head.
func TestWriterThatEndsWhileTheReaderLooksKeepsOrder(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	hook := new(testdb.Hook)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	rec := newRecorder()
	start(t, testdb.Hooked(t, dsn, hook), noSweep(), rec)

	first := begin(t, db)
	publishIn(t, first, "orders", keyed("a", "1"))
	publish(t, db, "orders", keyed("b", "other"))
	rec.arrives(t, "orders", "other") // the head is above the first
	publish(t, db, "orders", keyed("b", "another"))
	rec.arrives(t, "orders", "another")

	read, listed := pause(hook.After, "pg_locks")
	<-listed
	require.NoError(t, first.Commit())
	publish(t, db, "orders", keyed("a", "2"))
	close(read)
	rec.arrives(t, "orders", "2")
	rec.arrives(t, "orders", "1")
	require.Equal(t, []string{"other", "another", "1", "2"}, rec.payloads("orders"))
}

// The same within one transaction, whose numbers lie on both sides of the head.
func TestTransactionThatEndsWhileTheReaderLooksKeepsOrder(t *testing.T) {
	t.Parallel()
	for _, savepoint := range []bool{false, true} {
		t.Run(fmt.Sprintf("savepoint=%t", savepoint), func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			hook := new(testdb.Hook)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			rec := newRecorder()
			start(t, testdb.Hooked(t, dsn, hook), noSweep(), rec)

			tx := begin(t, db)
			publishIn(t, tx, "orders", keyed("a", "1"))
			publish(t, db, "others", keyed("b", "other"))
			rec.arrives(t, "others", "other")
			publish(t, db, "others", keyed("b", "another"))
			rec.arrives(t, "others", "another") // the head is above the first

			// Numbers are asked, then writers are listed: stop at both.
			ask, asked := pause(hook.Before, "pg_sequence_last_value")
			<-asked
			if savepoint {
				execute(t, tx, "SAVEPOINT s")
			}
			publishIn(t, tx, "orders", keyed("a", "2"))
			if savepoint {
				execute(t, tx, "RELEASE s")
			}
			list, listed := pause(hook.After, "pg_locks")
			close(ask)
			<-listed
			require.NoError(t, tx.Commit())
			close(list)
			rec.arrives(t, "orders", "2")
			rec.arrives(t, "orders", "1")
			require.Equal(t, []string{"1", "2"}, rec.payloads("orders"))
		})
	}
}

// pause makes the first statement that contains text wait until resume is closed, and tells when it is there.
func pause(on func(testdb.HookFunc), text string) (chan struct{}, chan struct{}) {
	resume, there := make(chan struct{}), make(chan struct{})
	var once sync.Once
	on(func(_ context.Context, query string) error {
		if strings.Contains(query, text) {
			once.Do(func() {
				close(there)
				<-resume
			})
		}
		return nil
	})
	return resume, there
}

func TestSavepointThatIsRolledBackHidesNothing(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	rec := newRecorder()
	start(t, db, noSweep(), rec)
	tx := begin(t, db)
	execute(t, tx, "SAVEPOINT s")
	publishIn(t, tx, "orders", keyed("a", "gone"))
	execute(t, tx, "ROLLBACK TO s") // gives the lock up, too
	publish(t, db, "orders", keyed("b", "between"))
	rec.arrives(t, "orders", "between")
	publishIn(t, tx, "orders", keyed("a", "kept"))
	publish(t, db, "orders", keyed("b", "after"))
	rec.arrives(t, "orders", "after")
	require.NoError(t, tx.Commit())
	rec.arrives(t, "orders", "kept")
	require.Equal(t, []string{"between", "after", "kept"}, rec.payloads("orders"))
}

// Many short writers, some rolled back, some prepared, and a transaction that has nothing to do with the outbox held open all the time:
// in the same database, in another one, with a snapshot and a transaction id of its own.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	for _, holder := range []string{"nobody", "same database", "another database"} {
		t.Run(holder, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			rec := newRecorder()
			switch holder {
			case "same database":
				holdOpen(t, testdb.Open(t, dsn))
			case "another database":
				holdOpen(t, testdb.Open(t, testdb.PostgresDatabase(t)))
			}
			start(t, db, noSweep(), rec)

			const writers, each = 8, 120
			var committed atomic.Int64
			var wg sync.WaitGroup
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			for w := range writers {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(w)))
					for i := range each {
						n := 1 + rnd.IntN(3)
						var msgs []*message.Message
						for j := range n {
							msgs = append(msgs, keyed(fmt.Sprint(w), fmt.Sprintf("%d.%d.%d", w, i, j)))
						}
						tx, err := db.Begin()
						if err != nil {
							t.Error(err)
							return
						}
						p, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
						if err == nil {
							err = p.Publish("orders", msgs...)
						}
						if err == nil && rnd.IntN(3) == 0 {
							_, err = tx.Exec("SELECT pg_sleep($1)", rnd.Float64()*0.02) // the server's time, not the test's
						}
						switch what := rnd.IntN(10); {
						case err != nil:
						case what < 2:
							err = tx.Rollback()
						case what == 2:
							id := fmt.Sprintf("%s %d %d", t.Name(), w, i)
							if _, err = tx.Exec("PREPARE TRANSACTION '" + id + "'"); err == nil {
								_ = tx.Commit()
								if _, err = db.Exec("COMMIT PREPARED '" + id + "'"); err == nil {
									committed.Add(int64(n))
								}
							}
						default:
							if err = tx.Commit(); err == nil {
								committed.Add(int64(n))
							}
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			last := time.Now()
			await.That(t, func() bool { return int64(rec.count("orders")) >= committed.Load() })
			t.Logf("%d events, the last %s after the last commit", committed.Load(), time.Since(last))
			require.Less(t, time.Since(last), await.Patience)
			require.EqualValues(t, committed.Load(), rec.count("orders"))
			requireOrdered(t, rec.payloads("orders"))
			await.That(t, func() bool { return statuses(t, db)["SENT"] == int(committed.Load()) })
		})
	}
}

// requireOrdered checks payloads of the form key.number.number.
func requireOrdered(t testing.TB, payloads []string) {
	t.Helper()
	last := map[int][2]int{}
	for _, p := range payloads {
		var key int
		var n [2]int
		_, err := fmt.Sscanf(p, "%d.%d.%d", &key, &n[0], &n[1])
		require.NoError(t, err)
		before, seen := last[key]
		require.True(t, !seen || slices.Compare(before[:], n[:]) < 0, "key %d: %v after %v", key, n, before)
		last[key] = n
	}
}

// holdOpen keeps a transaction with a snapshot and an id of its own open until the test ends.
func holdOpen(t testing.TB, db *sql.DB) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	require.NoError(t, err)
	var id string
	require.NoError(t, tx.QueryRow("SELECT txid_current()::text").Scan(&id))
	t.Cleanup(func() { require.NoError(t, tx.Rollback()) })
}

func TestPreparedTransactionIsAWriterToo(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	s, err := store.Open(context.Background(), db, schema.Config{})
	require.NoError(t, err)
	tx := begin(t, db)
	publishIn(t, tx, "orders", keyed("a", "1"))
	before, err := s.Writers(context.Background())
	require.NoError(t, err)
	require.Len(t, before, 1)
	require.NotZero(t, before[0].XID)
	execute(t, tx, "PREPARE TRANSACTION '"+t.Name()+"'")
	after, err := s.Writers(context.Background())
	require.NoError(t, err)
	require.Len(t, after, 1)
	require.Equal(t, before[0].XID, after[0].XID)
	t.Logf("%s became %s", before[0].Name, after[0].Name)
	execute(t, db, "COMMIT PREPARED '"+t.Name()+"'")
	none, err := s.Writers(context.Background())
	require.NoError(t, err)
	require.Empty(t, none)
}

// What commits just before a sweep is found by both; it must not be reported as missed, for that is the alarm of the rule.
func TestSweepReportsOnlyWhatWasMissed(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	rec, log := newRecorder(), watermill.NewCaptureLogger()
	cfg := forwarder.SubscriberConfig{SweepInterval: time.Nanosecond, Lease: 6 * time.Second}
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": rec}, forwarder.Config{Subscriber: cfg}, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	for i := range 100 {
		late, early := fmt.Sprint("late ", i), fmt.Sprint("early ", i)
		tx := begin(t, db)
		publishIn(t, tx, "orders", keyed("a", late))
		publish(t, db, "orders", keyed("b", early))
		rec.arrives(t, "orders", early)
		require.NoError(t, tx.Commit())
		rec.arrives(t, "orders", late)
	}
	cancel()
	require.NoError(t, <-done)
	for _, m := range log.Captured()[watermill.InfoLogLevel] {
		require.NotContains(t, m.Msg, "sweep")
	}
}
