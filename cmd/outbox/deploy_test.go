package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// deploy runs deploy.sh with variables and arguments.
func deploy(t *testing.T, variables []string, args ...string) *process {
	t.Helper()
	return start(t, "env", append(append(variables, "bash", deployFolder+"deploy.sh"), args...)...)
}

// privateFile writes a file that nobody else may read.
func privateFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "outbox.env")
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600))
	return name
}

func TestDeployStartsTheForwarder(t *testing.T) {
	t.Parallel()
	file := binary(t)
	dsn := testdb.PostgresDSN(t)
	settings := privateFile(t, "# as in production", "", "DATABASE_URL='"+dsn+"'", "METRICS_PORT=0", "BENTO_OUTBOX_TO=console://stdout", "LOG_LEVEL=error")
	p := deploy(t, []string{"OUTBOX_BIN=" + file, "OUTBOX_ENV_FILE=" + settings, "LOG_LEVEL=info"}) // what is set wins
	p.ready(t, http.StatusOK, `"ready":true`)
	steps := []string{
		"==> checking the environment", "==> checking the configuration", "the configuration is valid", "==> bringing the tables up", "applied 001_outbox",
		"==> checking the indexes", "==> starting the forwarder", "Serving HTTP",
	}
	at := 0
	for _, step := range steps {
		next := strings.Index(p.logs()[at:], step)
		require.GreaterOrEqual(t, next, 0, "%q is not there, or too early:\n%s", step, p.logs())
		at += next
	}
	insert(t, testdb.Open(t, dsn), "orders", `{"n":1}`)
	await.That(t, func() bool { return len(p.payloads()) == 1 })
	require.Equal(t, []string{`{"n":1}`}, p.payloads())

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())

	again := deploy(t, []string{"OUTBOX_BIN=" + file, "OUTBOX_ENV_FILE=" + settings}, "--no-start")
	require.Zero(t, again.end(t), again.logs())
	require.Contains(t, again.logs(), "nothing to do: the tables are up to date")
	require.NotContains(t, again.logs(), "starting")
}

// Whoever may not create tables gets the SQL, and goes on when somebody has run it. A missing index stops as well.
func TestDeployWithoutDDL(t *testing.T) {
	t.Parallel()
	file := binary(t)
	dsn := testdb.PostgresDSN(t)
	db := testdb.Open(t, dsn)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("search_path")) // the SQL names a schema, public where none is set
	variables := []string{"OUTBOX_BIN=" + file, "DATABASE_URL=" + dsn, "BENTO_OUTBOX_SCHEMA=" + u.Query().Get("search_path"), "BENTO_OUTBOX_TO=console://stdout"}
	script := filepath.Join(t.TempDir(), "outbox.sql")

	p := deploy(t, variables, "--no-ddl", script, "--no-start")
	require.Equal(t, statusFailed, p.end(t), p.logs())
	require.Contains(t, p.logs(), "have somebody who may create tables run what is said above, or "+script)
	var tables int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`).Scan(&tables))
	require.Zero(t, tables)

	sql, err := os.ReadFile(script)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), string(sql))
	require.NoError(t, err)
	p = deploy(t, variables, "--no-ddl", script, "--no-start")
	require.Zero(t, p.end(t), p.logs())
	require.Contains(t, p.logs(), "==> ready to start")

	_, err = db.ExecContext(t.Context(), `DROP INDEX outbox_deliveries_held`)
	require.NoError(t, err)
	p = deploy(t, variables)
	require.Equal(t, statusFailed, p.end(t), p.logs())
	require.Contains(t, p.logs(), "1 index is missing or invalid")
	require.NotContains(t, p.logs(), "starting")
}

// All that is wrong is said at once, before anything is begun; what a line of the file would run is not run.
func TestDeployFaults(t *testing.T) {
	t.Parallel()
	file := binary(t)
	settings := privateFile(t, "METRICS_PORT=web", "not a setting", "BENTO_OUTBOX_ROUTES=/nowhere.yaml", "LOG_FORMAT=$(touch ran)`touch ran`")
	require.NoError(t, os.Chmod(settings, 0o644))
	t.Cleanup(func() { require.NoFileExists(t, "ran") })
	for name, c := range map[string]struct {
		variables, args, want []string
	}{
		"binary": {[]string{"OUTBOX_BIN=" + file, "OUTBOX_ENV_FILE=" + settings}, []string{"--nostart", "--no-ddl"}, []string{
			"--nostart: unknown argument", "--no-ddl: want the name of a file", "others may read it: chmod 600", "line 2: want NAME=value",
			"DATABASE_URL is not set", "BENTO_OUTBOX_ROUTES: /nowhere.yaml: no file", `METRICS_PORT: "web" is neither a port`, "no destination: set --to", "LOG_FORMAT: ",
		}},
		"no binary": {[]string{"OUTBOX_BIN=/nowhere/outbox", "OUTBOX_ENV_FILE=/nowhere/env"}, nil, []string{
			"OUTBOX_BIN: /nowhere/outbox is no program", "/nowhere/env: no file that can be read", "DATABASE_URL is not set",
		}},
		"compose": {[]string{"OUTBOX_ENV_FILE=" + privateFile(t, "POSTGRES_PASSWORD=short", "REDIS_PASSWORD='with a slash / and more'", "OUTBOX_REPLICAS=7")}, nil, []string{
			"POSTGRES_PASSWORD: want 16 or more", "REDIS_PASSWORD: want 16 or more", "OUTBOX_REPLICAS: want 1 or 2",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := deploy(t, c.variables, c.args...)
			require.Equal(t, statusUsage, p.end(t), p.logs())
			for _, want := range c.want {
				require.Contains(t, p.logs(), want)
			}
			require.NotContains(t, p.logs(), "bringing the tables up")
			require.NotContains(t, p.logs(), "with a slash", "no secret")
		})
	}
}
