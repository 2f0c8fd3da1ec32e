package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Whatever is printed, logged, served or stored, the secrets of no URL are in it: not of a webhook that refuses, not of one that is down, not of a
// collector, not of the database.
func TestSecretsOfURLsAreNowhere(t *testing.T) {
	t.Parallel()
	file := binary(t)
	var posts atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		http.Error(w, "tiger", http.StatusUnprocessableEntity)
	}))
	t.Cleanup(hook.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	secret := func(base string) string {
		return strings.Replace(base, "http://", "http://tiger-user:tiger-password@", 1) + "/services/T000/tiger?header.Authorization=tiger&query.sig=tiger"
	}
	u, err := url.Parse(testdb.PostgresDSN(t))
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "tiger")
	outbox("migrate", "up", "--database-url", u.String()).require(t, statusDone)

	settings := filepath.Join(t.TempDir(), "outbox.yaml")
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "destinations: {hook: %q, gone: %q}\naction_token: tiger-tiger-tiger\n", secret(hook.URL), secret(gone.URL)), 0o600))
	env := append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+gone.URL+"/tiger", "OTEL_BSP_SCHEDULE_DELAY=50", "DATABASE_URL="+u.String(),
		"BENTO_OUTBOX_CONFIG="+settings)
	p := startIn(t, env, "", file, "run", "--metrics-port", "0", "--log-level", "trace")
	base := p.served(t)
	db := testdb.Open(t, u.String())
	for _, topic := range []string{"hook://a", "gone://a", "https://h/tiger"} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, routing_key) VALUES ('orders', '{}', $1)`, strings.ReplaceAll(topic, "tiger", "services"))
		require.NoError(t, err)
	}
	p.waitFor(t, "Tracing does not work")
	p.waitFor(t, "A destination takes nothing for now")
	await.That(t, func() bool {
		status := eventStatuses(t, db)
		return status["DEAD"] == 2
	}, "%s", p.logs())

	shown := map[string]string{}
	for _, page := range []string{"/", "/status.json", "/metrics", "/readyz"} {
		_, shown[page] = get(t, base+page)
	}
	for _, command := range []string{
		"config print", "config check", "stats --json", "dead list --json", "dead show --seq 1", "tail --no-follow --payload", "diagnose --json",
		"explain --seq 1", "health --metrics-port " + strings.TrimPrefix(base, "http://"),
		"stats " + u.String(), "run --to redis://:tiger@h?x", "run --to https://tiger@h/tiger?tiger", "bench --redis-url redis://:ti%zztiger@h/0 --to redis",
		"run --batch-size " + secret(hook.URL), "stats --database-url postgres://app:tiger@h:99999999/d",
	} {
		c := startIn(t, env, "", file, strings.Fields(command)...)
		_ = c.end(t)
		c.mu.Lock()
		shown[command] = strings.Join(c.lines, "\n") + c.logs()
		c.mu.Unlock()
	}
	rows, err := db.QueryContext(t.Context(), `SELECT error FROM outbox_deliveries UNION ALL SELECT reason FROM outbox_controls`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		shown["stored"] += text + "\n"
	}
	require.NoError(t, rows.Err())
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
	shown["log"] = p.logs()
	for name, text := range shown {
		require.NotEmpty(t, text, name)
		require.NotContains(t, text, "tiger", name)
		require.NotContains(t, text, "T000", name)
	}
	require.Contains(t, shown["config print"], "127.0.0.1", "what is no secret is shown")
	require.NoError(t, context.Cause(t.Context()))
}
