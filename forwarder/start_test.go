package forwarder_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// remote is a database that cannot be reached before it is there.
type remote struct {
	driver.Connector
	there   atomic.Bool
	refused atomic.Int64
}

func (r *remote) Connect(ctx context.Context) (driver.Conn, error) {
	if !r.there.Load() {
		r.refused.Add(1)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return r.Connector.Connect(ctx)
}

// remotes runs f with databases without tables, and with what opens them as a remote.
func remotes(t *testing.T, f func(t *testing.T, db *sql.DB, away *remote)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dsn := testdb.SQLiteDSN(filepath.Join(t.TempDir(), "outbox.db"))
		c, err := sqlite.NewConnector(dsn)
		require.NoError(t, err)
		db, err := sql.Open("sqlite", dsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		f(t, db, &remote{Connector: c})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dsn := testdb.PostgresDSN(t)
		c, err := stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(dsn)
		require.NoError(t, err)
		f(t, testdb.Open(t, dsn), &remote{Connector: c})
	})
}

func (r *remote) open(t *testing.T) *sql.DB {
	db := sql.OpenDB(r)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// onRouter runs f on a Router of its own until ctx ends.
func onRouter(ctx context.Context, f *forwarder.Forwarder) error {
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	f.AddTo(r)
	return r.Run(ctx)
}

// eachWay runs test with each way to run a forwarder until ctx ends, on databases that are away and have no tables yet.
func eachWay(t *testing.T, test func(t *testing.T, run func(context.Context, *forwarder.Forwarder) error, db *sql.DB, away *remote)) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, *forwarder.Forwarder) error{
		"run":    func(ctx context.Context, f *forwarder.Forwarder) error { return f.Run(ctx) },
		"drain":  func(ctx context.Context, f *forwarder.Forwarder) error { return f.Drain(ctx) },
		"router": onRouter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotes(t, func(t *testing.T, db *sql.DB, away *remote) { test(t, run, db, away) })
		})
	}
}

// waiting returns how often log says that the database is waited for.
func waiting(log *watermill.CaptureLoggerAdapter) (n int) {
	for _, m := range log.Captured()[watermill.ErrorLogLevel] {
		if m.Msg == "Cannot reach the database yet; waiting for it" {
			n++
		}
	}
	return n
}

func TestForwarderWaitsForItsDatabase(t *testing.T) {
	eachWay(t, func(t *testing.T, run func(context.Context, *forwarder.Forwarder) error, db *sql.DB, away *remote) {
		testdb.Migrated(t, db)
		publish(t, db, "orders", keyed("a", "1"))
		rec, log := newRecorder(), watermill.NewCaptureLogger()
		f, err := forwarder.New(away.open(t), map[string]message.Publisher{"sink": rec}, forwarder.Config{}, log)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, f) }()
		await.That(t, func() bool { return away.refused.Load() > 1 && waiting(log) > 0 })
		require.EqualError(t, f.Ready(ctx), "has not reached its database yet")
		away.there.Store(true)
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) { // of a Drain that has not seen that nothing is left
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
		require.Equal(t, 1, waiting(log), "it is logged once")
	})
}

// A forwarder that waits for its database is stopped as others are.
func TestForwarderThatWaitsForItsDatabaseEnds(t *testing.T) {
	ends := map[string]func(f *forwarder.Forwarder, cancel func()) error{
		"close":   func(f *forwarder.Forwarder, _ func()) error { return f.Close() },
		"context": func(_ *forwarder.Forwarder, cancel func()) error { cancel(); return nil },
	}
	eachWay(t, func(t *testing.T, run func(context.Context, *forwarder.Forwarder) error, _ *sql.DB, away *remote) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				f, err := forwarder.New(away.open(t), map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, nil)
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				before := away.refused.Load()
				go func() { ended <- run(ctx, f) }()
				await.That(t, func() bool { return away.refused.Load() > before })
				require.NoError(t, end(f, cancel))
				if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, forwarder.ErrClosed) { // of Drain, which has not drained
					require.NoError(t, err)
				}
			})
		}
	})
}

// What waiting does not cure is an error at once: tables that are missing, and tables of a later version.
func TestTablesThatDoNotFitAreAnError(t *testing.T) {
	eachWay(t, func(t *testing.T, run func(context.Context, *forwarder.Forwarder) error, db *sql.DB, away *remote) {
		away.there.Store(true)
		f, err := forwarder.New(away.open(t), map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, nil)
		require.NoError(t, err)
		err = run(t.Context(), f)
		require.ErrorIs(t, err, schema.ErrSchema)
		require.ErrorContains(t, err, "outbox migrate up")

		testdb.Migrated(t, db)
		execute(t, db, `INSERT INTO outbox_migrations (version, name, identity) VALUES (999, 'future', 'x')`)
		err = run(t.Context(), f)
		require.ErrorIs(t, err, schema.ErrSchema)
		require.ErrorContains(t, err, "upgrade it")

		execute(t, db, `DELETE FROM outbox_migrations WHERE version = 999`)
		publish(t, db, "orders", keyed("a", "1"))
		require.NoError(t, f.Drain(t.Context()), "it may be run again")
		require.NoError(t, f.Close())
	})
}

// Tables that turn out to be missing when the database can be reached are an error of Run, and end the handler of a Router.
func TestTablesThatAreMissingAfterTheWait(t *testing.T) {
	eachWay(t, func(t *testing.T, run func(context.Context, *forwarder.Forwarder) error, _ *sql.DB, away *remote) {
		log := watermill.NewCaptureLogger()
		f, err := forwarder.New(away.open(t), map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, log)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- run(t.Context(), f) }()
		await.That(t, func() bool { return waiting(log) > 0 })
		away.there.Store(true)
		if err := <-ended; err != nil {
			require.ErrorIs(t, err, schema.ErrSchema)
		}
		require.ErrorIs(t, f.Close(), schema.ErrSchema)
	})
}

// A name or a user that a server does not know is no outage.
func TestDatabaseThatIsUnknownIsAnError(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testdb.PostgresDSN(t))
	require.NoError(t, err)
	u.Path = "/nowhere"
	f, err := forwarder.New(testdb.Open(t, u.String()), map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, f.Run(t.Context()), "nowhere")
}

// A port that nobody listens at may be a server that starts.
func TestServerThatIsNotThereIsWaitedFor(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dsn := fmt.Sprintf("postgres://postgres@%s/outbox?sslmode=disable", l.Addr())
	require.NoError(t, l.Close())
	log := watermill.NewCaptureLogger()
	f, err := forwarder.New(testdb.Open(t, dsn), map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, log)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(t.Context()) }()
	await.That(t, func() bool { return waiting(log) == 1 })
	require.NoError(t, f.Close())
	require.NoError(t, <-ended)
}

// A drain that was given up says that the database was never reached, and why.
func TestDrainOfADatabaseThatWasNeverReached(t *testing.T) {
	t.Parallel()
	remotes(t, func(t *testing.T, _ *sql.DB, away *remote) {
		db := sql.OpenDB(away)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		ctx, cancel := context.WithCancelCause(t.Context())
		f, err := forwarder.New(db, map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{}, nil)
		require.NoError(t, err)
		go func() {
			for away.refused.Load() < 2 { // the first one is known by then
				runtime.Gosched()
			}
			cancel(errors.New("enough"))
		}()
		err = f.Drain(ctx)
		require.ErrorContains(t, err, "never reached")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "enough")
		require.NoError(t, f.Close())
	})
}
