package main

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// count tells how often something was logged.
func (p *process) count(log string) int { return strings.Count(p.logs(), log) }

// The routes are those of the file as it is now, or as it last was right.
func TestRoutesAreReloaded(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		path := filepath.Join(t.TempDir(), "routes.yaml")
		route := func(condition string) string {
			return "- topic: orders\n  config:\n    targets:\n      - destination: out://orders\n        conditions: {payload.n: " + condition + "}\n"
		}
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		write(route("1"))
		p := start(t, file, "run", "--destination", "out=console://stdout", "--routes", path, "--database-url", url)
		reloads := 0
		reloaded := func() {
			t.Helper()
			reloads++
			await.That(t, func() bool { return p.count("Reloaded the routes") == reloads }, "log:\n%s", await.Later(p.logs))
		}
		sent := func(want ...string) {
			t.Helper()
			await.That(t, func() bool { return len(p.payloads()) >= len(want) }, "log:\n%s", await.Later(p.logs))
			require.Equal(t, want, p.payloads())
		}
		insert(t, db, "orders", `{"n":2}`, `{"n":1}`)
		sent(`{"n":1}`)

		write(route("2")) // is seen without a signal
		reloaded()
		insert(t, db, "orders", `{"n":1}`, `{"n":2}`)
		sent(`{"n":1}`, `{"n":2}`)

		write(strings.ReplaceAll(route("3"), "out://", "uot://"))
		p.waitFor(t, "The routes file has faults; keeping the current routes")
		require.Contains(t, p.logs(), "/0/config/targets/0/destination")
		require.NoError(t, os.Remove(path))
		p.waitFor(t, "Cannot read the routes file; keeping the current routes")
		insert(t, db, "orders", `{"n":3}`, `{"n":2}`)
		sent(`{"n":1}`, `{"n":2}`, `{"n":2}`)

		write(route("3"))
		reloaded()
		insert(t, db, "orders", `{"n":3}`)
		sent(`{"n":1}`, `{"n":2}`, `{"n":2}`, `{"n":3}`)

		require.NoError(t, p.Process.Signal(syscall.SIGHUP)) // reads a file that is as it was
		reloaded()
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())
		require.Equal(t, 1, p.count("has faults"), "logged once, not at every check")
	})
}

// A forwarder without routes is not ended by the signal either.
func TestHangUpWithoutRoutes(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, _ func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--log-format", "json", "--database-url", url)
		p.ready(t, http.StatusOK, "")
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		p.waitFor(t, `"msg":"Received SIGHUP, but there is no routes file to reload"`)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())
	})
}
