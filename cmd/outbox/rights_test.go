package main

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Without the right to create tables nothing is created, and whoever has it can be given the SQL. Without rights on the tables nothing is forwarded.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testdb.PostgresDSN(t))
	require.NoError(t, err)
	admin := testdb.Open(t, u.String())
	exec := func(query string) {
		t.Helper()
		_, err := admin.ExecContext(context.WithoutCancel(t.Context()), query)
		require.NoError(t, err, query)
	}
	space := u.Query().Get("search_path")
	role := space + "_reader"
	exec("CREATE ROLE " + role + " LOGIN PASSWORD 'tiger'")
	t.Cleanup(func() { exec("DROP OWNED BY " + role); exec("DROP ROLE " + role) })
	exec("GRANT USAGE ON SCHEMA " + space + " TO " + role)
	own := *u
	own.User = url.UserPassword(role, "tiger")

	refused := func(what string, args ...string) {
		t.Helper()
		r := outbox(append(args, "--log-level", "error", "--database-url", own.String())...).require(t, statusFailed)
		require.Regexp(t, `^outbox: PostgreSQL at \S+, database "[^"]+": user "`+role+`" lacks a right: permission denied for `+what+
			`[^\n]*; grant it, or let somebody who has it run the output of "outbox migrate print"\n$`, r.stderr)
		require.Empty(t, r.stdout)
	}
	refused("schema", "migrate", "up")
	var tables int
	require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = $1::regnamespace`, space).Scan(&tables))
	require.Zero(t, tables, "nothing half done")

	script := outbox("migrate", "print", "--dialect", "postgres", "--schema", space).require(t, statusDone).stdout
	exec(script)
	insert(t, admin, "orders", `{}`)
	refused("table", "run", "--once", "--to", "console://stdout")

	exec("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + space + " TO " + role)
	exec("GRANT SELECT ON ALL SEQUENCES IN SCHEMA " + space + " TO " + role)
	r := outbox("run", "--once", "--to", "console://stderr", "--database-url", own.String()).require(t, statusDone)
	require.Equal(t, 1, strings.Count(r.stderr, "Stopped"))
	require.Regexp(t, `pending +- +0 `, outbox("stats", "--database-url", u.String()).require(t, statusDone).stdout)
}
