package forwarder_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// The server crashes while events are delivered, stays away for a while and comes back.
func TestServerThatCrashesWhileEventsAreDelivered(t *testing.T) {
	t.Parallel()
	server := testdb.NewServer(t)
	db := testdb.Migrated(t, server.Open())
	const keys, each, inFlight, batch = 10, 100, 20, 50
	for i := range each {
		var msgs []*message.Message
		for k := range keys {
			msgs = append(msgs, keyed(fmt.Sprint(k), fmt.Sprintf("%d.%d.0", k, i)))
		}
		publish(t, db, "orders", msgs...)
	}
	rec := newRecorder()
	start(t, db, forwarder.SubscriberConfig{
		SweepInterval: time.Hour, Lease: 6 * time.Second, MaxConcurrent: inFlight, SettleBatch: batch, BatchSize: 100,
	}, slowPublisher{rec, time.Millisecond})
	for _, at := range []int{100, 400} {
		rec.arrive(t, "orders", at)
		server.Stop("immediate")
		stopped := rec.count("orders")
		server.Start()
		rec.arrive(t, "orders", stopped+1)
	}
	await.That(t, func() bool { return statuses(t, db)["SENT"] == keys*each })

	var firsts []string
	seen := map[string]bool{}
	for _, p := range rec.payloads("orders") {
		if !seen[p] {
			firsts = append(firsts, p)
		}
		seen[p] = true
	}
	require.Len(t, firsts, keys*each)
	requireOrdered(t, firsts)
	repeated := rec.count("orders") - len(firsts)
	t.Logf("%d repeated", repeated)
	require.LessOrEqual(t, repeated, 2*(batch+inFlight), "a batch and what was in flight, for each crash")
}

// forgetConnections closes what is idle in the pool, so that the next use opens a new connection.
func forgetConnections(db *sql.DB) {
	db.SetMaxIdleConns(0)
	db.SetMaxIdleConns(2)
}

// The server is replaced by a backup of it, in which numbers are lower: what is known of the old one must not count.
func TestServerThatIsReplacedByABackup(t *testing.T) {
	t.Parallel()
	server := testdb.NewServer(t)
	db := testdb.Migrated(t, server.Open())
	publish(t, db, "orders", keyed("a", "before"))
	server.Stop("fast")
	server.Backup()
	server.Start()
	forgetConnections(db)

	rec := newRecorder()
	start(t, db, noSweep(), rec)
	rec.arrives(t, "orders", "before")
	for range 20 {
		publish(t, db, "others", keyed("b", "x"), keyed("c", "x"))
	}
	rec.arrive(t, "others", 40)
	server.Stop("fast")
	server.Restore()
	server.Start()
	rec.mu.Lock()
	rec.got = map[string][]*message.Message{}
	rec.mu.Unlock()
	forgetConnections(db)
	publish(t, db, "orders", keyed("a", "after"))
	rec.arrives(t, "orders", "after")
	require.Equal(t, []string{"before", "after"}, rec.payloads("orders"))
	require.Zero(t, rec.count("others"))
	publish(t, db, "orders", keyed("a", "again"))
	rec.arrives(t, "orders", "again")
}

// A database with events in every state is copied, and a forwarder is started on the copy.
func TestRestoredBackupIsForwarded(t *testing.T) {
	t.Parallel()
	for name, restore := range map[string]func(t *testing.T, from string) string{
		"template": func(t *testing.T, from string) string {
			u, err := url.Parse(from)
			require.NoError(t, err)
			return testdb.PostgresDatabase(t, strings.TrimPrefix(u.Path, "/"))
		},
		"pg_dump": func(t *testing.T, from string) string {
			dump, restore := testdb.Program(t, "pg_dump"), testdb.Program(t, "psql")
			to := testdb.PostgresDatabase(t)
			cmd := exec.CommandContext(context.Background(), dump, "-d", from)
			cmd.Env = append(os.Environ(), "LC_ALL=C")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			text, err := cmd.Output()
			if strings.Contains(stderr.String(), "server version mismatch") {
				t.Skipf("skipped: the installed pg_dump is older than the server: %s", stderr.String())
			}
			require.NoError(t, err, "%s", &stderr)
			cmd = exec.CommandContext(context.Background(), restore, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to)
			cmd.Stdin = bytes.NewReader(text)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			return to
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := testdb.PostgresDatabase(t)
			before := newRecorder()
			func() {
				db, err := sql.Open("pgx", from)
				require.NoError(t, err)
				defer db.Close() // a template must have no connections
				testdb.Migrated(t, db)
				before.fail = func(_ string, m *message.Message) error {
					if strings.HasPrefix(string(m.Payload), "waiting") {
						return errors.New("not now")
					}
					return nil
				}
				dead := keyed("d", "dead")
				outbox.SetRoutingKey(dead, "nowhere://x")
				publish(t, db, "orders", keyed("s", "sent"), dead, keyed("w", "waiting"), keyed("w", "held"))
				drain(t, db, forwarder.Config{}, map[string]message.Publisher{"kafka": before})
				require.Equal(t, []string{"sent"}, before.payloads("orders"))
				publish(t, db, "orders", keyed("w", "pending"), keyed("p", "pending too"))
				require.Equal(t, map[string]int{"SENT": 1, "DEAD": 1, "FAILED": 1, "NEW": 3}, statuses(t, db))
			}()

			db := testdb.Open(t, restore(t, from))
			rec := newRecorder()
			start(t, db, noSweep(), rec)
			rec.arrives(t, "orders", "pending")
			publish(t, db, "orders", keyed("w", "new")) // numbers go on where they were
			rec.arrives(t, "orders", "new")
			rec.arrives(t, "orders", "pending too")
			got := slices.DeleteFunc(rec.payloads("orders"), func(s string) bool { return s == "pending too" })
			require.Equal(t, []string{"waiting", "held", "pending", "new"}, got)
			await.That(t, func() bool { s := statuses(t, db); return s["SENT"] == 6 && s["DEAD"] == 1 })
		})
	}
}

// A publisher that panics has failed: the event is tried again there, those behind it wait, and other targets are not touched.
func TestPublisherThatPanicsHasFailed(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const config = `{"targets":[{"destination":"a","retry_policy":"twice"},{"destination":"b"}]}`
		table, rec := routes(t), newRecorder()
		rec.fail = func(topic string, _ *message.Message) error {
			if rec.failures++; topic == "a" && len(rec.got["a"]) == 0 && rec.failures < 3 {
				panic("broken client")
			}
			return nil
		}
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		publishRouted(t, db, table, "t", configured("a", "0", config), configured("a", "1", config), configured("a", "2", config))
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 3 })
		require.Equal(t, []string{"0", "1", "2"}, rec.payloads("a"))
		require.Equal(t, []string{"0", "1", "2"}, rec.payloads("b"))
	})
}
