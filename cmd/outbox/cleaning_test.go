package main

import (
	"database/sql"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// A forwarder removes what is finished when it is told when, and only then.
func TestRunCleansUp(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, routing_key) VALUES ('orders', '{}', 'nobody://x')`) // dies, and stays
		require.NoError(t, err)
		insert(t, db, "orders", `{}`)
		count := func() (n int) {
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox`).Scan(&n))
			return n
		}
		outbox("run", "--once", "--to", "console://stderr", "--retention", "1s", "--database-url", url).require(t, statusDone)
		require.Equal(t, 2, count())
		p := start(t, file, "run", "--to", "console://stdout", "--cleanup-every", "50ms", "--retention", "1s", "--database-url", url)
		await.That(t, func() bool { return count() == 1 }, "log:\n%s", await.Later(p.logs))
		p.waitFor(t, "Cleaned up")
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())
		require.Equal(t, 1, count(), "dead events stay")
	})
}
