package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	redis "github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

var builds string // directory of what is built for tests

func TestMain(m *testing.M) {
	var err error
	if builds, err = os.MkdirTemp("", "outbox-test-"); err != nil {
		panic(err)
	}
	_ = os.Unsetenv(config.FileVariable)
	for _, s := range config.Settings() {
		_ = os.Unsetenv(s.Env)
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	redis.Disable()
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(status int) {
			_ = os.RemoveAll(builds)
			os.Exit(status)
		}),
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.IgnoreTopFunction("os/signal.loop"),
		// Watermill's Router leaves it behind when a subscription cannot be had, as in TestGroupConflict.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/message.(*Router).watchAllHandlersStopped.func1"))
}

type result struct {
	status         int
	stdout, stderr string
}

// buffer is what a command wrote. Watermill's Router may log a line after its Run has returned.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// outbox runs the command line in this process, with nobody at the terminal.
func outbox(args ...string) result {
	var stdout, stderr buffer
	status := run(args, strings.NewReader(""), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// require fails unless the command did what was expected of it.
func (r result) require(t *testing.T, status int) result {
	t.Helper()
	require.Equal(t, status, r.status, "stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	return r
}

// each runs f on a database without tables: SQLite always, PostgreSQL where the environment names a server. open is
// for looking at what the command did.
func each(t *testing.T, f func(t *testing.T, url string, open func() *sql.DB)) {
	t.Helper()
	opener := func(t *testing.T, driver, dsn string) func() *sql.DB {
		return func() *sql.DB {
			db, err := sql.Open(driver, dsn)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return db
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "a b%c.db")
		f(t, "sqlite:"+strings.ReplaceAll(file, "%", "%25"), opener(t, "sqlite", testdb.SQLiteDSN(strings.ReplaceAll(file, "%", "%25"))))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := testdb.PostgresDSN(t)
		f(t, url, opener(t, "pgx", url))
	})
}

// insert stores events by plain SQL.
func insert(t *testing.T, db *sql.DB, topic string, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, aggregate_id) VALUES ($1, $2, 'key')`, topic, p)
		require.NoError(t, err)
	}
}

// binary builds the command as users do, once for all tests, and returns its file.
func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: builds the binary")
	}
	file, err := built()
	require.NoError(t, err)
	return file
}

var built = sync.OnceValues(func() (string, error) {
	file := filepath.Join(builds, "outbox")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-o", file, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"migrate", "--help"}, {"stats", "--help"}} {
		require.Contains(t, outbox(args...).require(t, statusDone).stdout, "Usage: outbox")
	}
	require.Regexp(t, `^outbox \S+ .*go1`, outbox("--version").require(t, statusDone).stdout)
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	run := func(level string) string {
		return outbox("run", "--once", "--to", "console://stderr", "--database-url", url, "--log-level", level).require(t, statusDone).stderr
	}
	require.Empty(t, run("error"))
	require.Contains(t, run("INFO"), `level=INFO msg=Forwarding database="SQLite file`)
}

func TestEnvironmentNamesDatabaseAndLogLevel(t *testing.T) {
	t.Setenv("DATABASE_URL", "sqlite:"+filepath.Join(t.TempDir(), "outbox.db"))
	t.Setenv("LOG_LEVEL", "shout")
	require.Contains(t, outbox("migrate", "up").require(t, statusUsage).stderr, `LOG_LEVEL: "shout" is none of`)
	t.Setenv("LOG_LEVEL", "warn")
	outbox("migrate", "up").require(t, statusDone)
	outbox("stats").require(t, statusDone)
}

// A command line on which everything is wrong is answered with everything.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	r := outbox("run", "--log-level", "loud", "--database-url", "oracle://scott:tiger@h/d", "--table-prefix", "Out box", "--schema", "1",
		"--to", "bogus://x", "--destination", "kafka://user:tiger@h", "--destination", "a=console://x?y=z",
		"--batch-size", "many", "--max-concurrent", "0", "--lease", "soon").require(t, statusUsage)
	require.Empty(t, r.stdout)
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	want := []string{
		`--batch-size: "many" is not a whole number from 1 to 100000`, `--max-concurrent: "0" is not a whole number`, `--lease: "soon" is not a duration of 1s or more`,
		`--destination: number 1: want NAME=URL`, `--log-level: "loud" is none of`,
		`--database-url: unknown scheme "oracle"`, `--table-prefix: `, `--schema: `,
		`--destination a: open console://x: `, `--to: unknown scheme "bogus"; known are console, http, https, kafka, redis, rediss. `,
	}
	require.Len(t, lines, len(want), r.stderr)
	for i := range want {
		require.True(t, strings.HasPrefix(lines[i], "outbox: "+want[i]), "line %d is %s, want %s", i, lines[i], want[i])
	}
	require.NotContains(t, r.stderr, "tiger")
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	cases := map[string]struct {
		args []string
		want string
	}{
		"no subcommand":       {[]string{"dead"}, "expected one of"},
		"help for nothing":    {[]string{"help", "nothing"}, "unexpected argument nothing"},
		"a tenant, too long":  {[]string{"tail", "--tenant", strings.Repeat("x", 1025), "--database-url", database}, "--tenant: it has 1025 bytes"},
		"unknown command":     {[]string{"replicate"}, "unexpected argument replicate"},
		"unknown flag":        {[]string{"stats", "--jsn"}, "unknown flag --jsn"},
		"no database":         {[]string{"stats"}, "no database: set --database-url or DATABASE_URL"},
		"no destination":      {[]string{"run", "--database-url", database}, "no destination: set --to"},
		"destination twice":   {[]string{"run", "--database-url", database, "--to", "console://", "--destination", "default=console://"}, `two destinations named "default"`},
		"destination no name": {[]string{"run", "--database-url", database, "--destination", "=console://"}, "want NAME=URL"},
		"down unconfirmed":    {[]string{"migrate", "down", "--database-url", database}, "set --yes"},
		"schema on SQLite":    {[]string{"stats", "--database-url", database, "--schema", "shop"}, "SQLite has no schemas"},
		"listen on SQLite":    {[]string{"run", "--to", "console://", "--listen", "--database-url", database}, "--listen: SQLite has no notifications"},
		"print, no dialect":   {[]string{"migrate", "print"}, "no dialect: set --dialect"},
		"print, dialect":      {[]string{"migrate", "print", "--dialect", "oracle"}, `--dialect: "oracle" is neither`},
		"print, direction":    {[]string{"migrate", "print", "--dialect", "sqlite", "--direction", "sideways"}, `--direction: "sideways" is neither`},
		"a long reason":       {[]string{"pause", "--tenant", "acme", "--reason", strings.Repeat("x", 501), "--database-url", database}, "--reason: it has 501 bytes, want at most 500"},
		"in memory":           {[]string{"stats", "--database-url", "sqlite::memory:"}, "is lost when this process ends"},
		"SQLite, two slashes": {[]string{"stats", "--database-url", "sqlite://app.db"}, "write sqlite:app.db for a file in the current directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outbox(c.args...).require(t, statusUsage)
			require.Contains(t, r.stderr, c.want)
			require.Empty(t, r.stdout)
		})
	}
}
