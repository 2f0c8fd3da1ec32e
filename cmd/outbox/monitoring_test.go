package main

import (
	"database/sql"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// What the forwarder does and what is in the database can be scraped, and alerts are logged.
func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		insert(t, db, "orders", `{}`, `{}`)
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, routing_key) VALUES ('orders', '{}', 'nobody://x')`)
		require.NoError(t, err)
		p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--action-token", token, "--status-hosts", "status.example",
			"--alert-dead-critical", "1", "--database-url", url)
		base := p.served(t)
		await.That(t, func() bool {
			_, text := get(t, base+"/metrics")
			for _, line := range []string{
				`outbox_attempts_total{destination="orders",result="delivered"} 2`, `outbox_dead_total{destination="nobody://x"} 1`,
				`outbox_destination_deliveries{destination="nobody://x",state="dead"} 1`, `outbox_up 1`,
			} {
				if !strings.Contains(text, line+"\n") {
					return false
				}
			}
			return strings.Contains(text, "go_goroutines ")
		}, "log:\n%s", await.Later(p.logs))
		p.waitFor(t, "severity=critical") // fields come in any order
		require.Equal(t, http.StatusOK, byName(t, base, "status.example"))
		require.Equal(t, http.StatusForbidden, byName(t, base, "evil.example"))
		status, page := get(t, base+"/")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, "nobody://x")
		require.Equal(t, http.StatusUnauthorized, post(t, base+"/actions/discard", "wrong"+token, `{"all":true}`))
		require.Equal(t, http.StatusOK, post(t, base+"/actions/discard", token, `{"all":true}`))
		require.Equal(t, "SKIPPED", eventStatus(t, db, "nobody://x"))
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())

		p = start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--enable-performance-monitoring=false", "--database-url", url)
		p.ready(t, http.StatusOK, `"ready":true`)
		status, _ = get(t, p.served(t)+"/metrics")
		require.Equal(t, http.StatusNotFound, status)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())
		require.NotContains(t, p.logs(), "dead_letters")
	})
}

// byName returns the status of the status page when it is asked for by a host name.
func byName(t *testing.T, url, host string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// post sends what a script sends to the status page, and returns the answer's status.
func post(t *testing.T, url, token, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

func eventStatus(t *testing.T, db *sql.DB, routingKey string) (status string) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT status FROM outbox_events WHERE routing_key = $1`, routingKey).Scan(&status))
	return status
}
