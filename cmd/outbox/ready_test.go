package main

import (
	"context"
	"database/sql"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A forwarder that cannot deliver is not ready, whatever it is that it cannot do, and says what; it is alive meanwhile, and ready when it can again.
func TestReadyMeansThatItCanDeliver(t *testing.T) {
	t.Parallel()
	file := binary(t)
	const onTables = " ON ALL TABLES IN SCHEMA "
	for name, c := range map[string]struct {
		take, give  func(role, space string) []string
		events      int    // stored while it cannot deliver
		says, cause string // says is how it begins
	}{
		"rights revoked": {
			take:  func(role, space string) []string { return []string{"REVOKE ALL" + onTables + space + " FROM " + role} },
			says:  "cannot renew its lease",
			cause: "permission denied for table outbox_",
		},
		"read-only": {
			take: func(role, _ string) []string {
				return []string{"ALTER ROLE " + role + " SET default_transaction_read_only = on",
					"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'"}
			},
			give: func(role, _ string) []string {
				return []string{"ALTER ROLE " + role + " RESET default_transaction_read_only",
					"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'"}
			},
			says:  "cannot renew its lease",
			cause: "read-only transaction",
		},
		"settling refused, before it has anything to settle": {
			take: func(role, space string) []string {
				return []string{"REVOKE DELETE ON " + space + ".outbox_pending FROM " + role}
			},
			says:  "cannot read or settle events in the database",
			cause: "permission denied for table outbox_pending",
		},
		"settling refused": {
			take: func(role, space string) []string {
				return []string{"REVOKE DELETE ON " + space + ".outbox_pending FROM " + role}
			},
			events: 1,
			says:   "cannot write outcomes",
			cause:  "permission denied for table outbox_pending",
		},
		"retries refused": {
			take: func(role, space string) []string {
				return []string{"REVOKE UPDATE ON " + space + ".outbox_deliveries FROM " + role}
			},
			says:  "cannot read or settle events in the database",
			cause: "permission denied for table outbox_deliveries",
		},
		"reading refused, before there is anything to read": {
			take: func(role, space string) []string {
				return []string{"REVOKE SELECT ON " + space + ".outbox FROM " + role}
			},
			says:  "cannot read",
			cause: "permission denied for table outbox",
		},
		"reading refused": {
			take: func(role, space string) []string {
				return []string{"REVOKE SELECT ON " + space + ".outbox FROM " + role}
			},
			events: 1,
			says:   "cannot read events",
			cause:  "permission denied for table outbox",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(testdb.PostgresDSN(t))
			require.NoError(t, err)
			outbox("migrate", "up", "--database-url", u.String()).require(t, statusDone)
			admin := testdb.Open(t, u.String())
			exec := func(queries ...string) {
				t.Helper()
				for _, query := range queries {
					_, err := admin.ExecContext(context.WithoutCancel(t.Context()), query)
					require.NoError(t, err, query)
				}
			}
			space := u.Query().Get("search_path")
			role := space + "_forwarder"
			grant := []string{"GRANT SELECT, INSERT, UPDATE, DELETE" + onTables + space + " TO " + role}
			exec("CREATE ROLE "+role+" LOGIN PASSWORD 'tiger'", "GRANT USAGE ON SCHEMA "+space+" TO "+role, grant[0],
				"GRANT SELECT ON ALL SEQUENCES IN SCHEMA "+space+" TO "+role)
			u.User = url.UserPassword(role, "tiger")
			p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--database-url", u.String())
			t.Cleanup(func() {
				_ = p.Process.Kill()
				<-p.stdoutComplete
				exec("DROP OWNED BY "+role, "DROP ROLE "+role)
			})
			p.ready(t, http.StatusOK, `"ready":true`)

			exec(c.take(role, space)...)
			if c.events > 0 {
				insert(t, admin, "orders", numbers(c.events)...)
			}
			p.ready(t, http.StatusServiceUnavailable, `"forwarder":"`+c.says)
			status, _ := get(t, p.served(t)+"/healthz")
			require.Equal(t, http.StatusOK, status)
			p.waitFor(t, c.cause)

			if c.give != nil {
				grant = c.give(role, space)
			}
			exec(grant...)
			p.ready(t, http.StatusOK, `"ready":true`)
			insert(t, admin, "orders", `{"n":99}`)
			await.That(t, func() bool { return eventStatuses(t, admin)["SENT"] == c.events+1 }, "%s", p.logs())
			require.NoError(t, p.Process.Signal(syscall.SIGTERM))
			require.Zero(t, p.end(t), p.logs())
		})
	}
}

// eventStatuses counts events by their status.
func eventStatuses(t *testing.T, db *sql.DB) map[string]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT status, count(*) FROM outbox_events GROUP BY status`)
	require.NoError(t, err)
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var status string
		var n int
		require.NoError(t, rows.Scan(&status, &n))
		counts[status] = n
	}
	require.NoError(t, rows.Err())
	return counts
}

// A server that is stopped and started again makes the forwarder unready in between, never unhealthy.
func TestReadyAgainWhenTheServerIs(t *testing.T) {
	t.Parallel()
	file := binary(t)
	server := testdb.NewServer(t)
	outbox("migrate", "up", "--database-url", server.DSN()).require(t, statusDone)
	p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--database-url", server.DSN())
	p.ready(t, http.StatusOK, `"ready":true`)
	server.Stop("immediate")
	p.ready(t, http.StatusServiceUnavailable, `"database":"does not answer"`)
	p.ready(t, http.StatusServiceUnavailable, `"forwarder":"cannot renew its lease"`)
	status, _ := get(t, p.served(t)+"/healthz")
	require.Equal(t, http.StatusOK, status)
	server.Start()
	p.ready(t, http.StatusOK, `"ready":true`)
	insert(t, server.Open(), "orders", `{"n":1}`)
	await.That(t, func() bool { return len(p.payloads()) == 1 })
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
}
