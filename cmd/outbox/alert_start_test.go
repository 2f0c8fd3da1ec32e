package main

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A forwarder that is about to join its group does not raise the alert that no forwarder is alive.
func TestStartRaisesNoAlert(t *testing.T) {
	t.Parallel()
	file := binary(t)
	url := testdb.PostgresDSN(t)
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	db := testdb.Open(t, url)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), `LOCK TABLE outbox_forwarders IN SHARE MODE`) // it can be read, and nobody joins
	require.NoError(t, err)

	p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--database-url", url)
	await.That(t, func() bool {
		var waits bool
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox_forwarders'::regclass)`).Scan(&waits))
		return waits
	})
	status, body := get(t, p.served(t)+"/status.json") // a look that finds nobody, and that is remembered
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "No forwarder is alive")
	require.NoError(t, tx.Rollback())
	p.ready(t, http.StatusOK, "")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
	require.NotContains(t, p.logs(), "No forwarder is alive")
}
