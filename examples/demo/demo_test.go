package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const smallOrders = 40 // a multiple of the number of products

// requireReport fails unless text is exactly one JSON object that says that all of n orders went well.
func requireReport(t *testing.T, text []byte, n int) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	var got map[string]any
	require.NoError(t, decoder.Decode(&got), "%s", text)
	require.False(t, decoder.More(), "more than one object: %s", text)
	delivered, ok := got["delivered"].(map[string]any)
	require.True(t, ok, "%s", text)
	require.Contains(t, delivered, "analytics.events") // a sample; what it should be is checked by the demo itself
	require.Less(t, delivered["analytics.events"], float64(n))
	delete(delivered, "analytics.events")
	express := (n + 2) / 3
	if n/2%3 == 0 {
		express-- // the poisoned one
	}
	require.Equal(t, map[string]any{
		"published":   float64(4 * n),
		"rolled_back": float64(4 * (n / 10)),
		"delivered": map[string]any{
			"kafka://orders": float64(n), "kafka://search.index": float64(n / 2), "kafka://other.products": float64(n / 4),
			"redis://vip.notifications": float64(n / 2), "redis://reviews": float64(n),
			"webhook://courier": float64(express), "audit": float64(n), "poison": 1.0,
		},
		"dead": 1.0, "skipped": float64(n - 1 - express), "lost": 0.0, "duplicated": 0.0, "out_of_order": 0.0,
	}, got)
}

func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--json", "--orders", "40"}, &stdout, &stderr)
	require.Zero(t, code, "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)
}

func TestTableNamesEveryDestinationAndTheDeadLetter(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--orders", "40"}, &stdout, &stderr), "%s", &stderr)
	for _, text := range []string{
		"kafka://orders", "kafka://search.index", "kafka://other.products", "analytics.events", "redis://vip.notifications",
		"redis://reviews", "webhook://courier", "audit", "poison", "160 events committed, 16 rolled back, 25 skipped", "1 dead:",
		`target "webhook://courier": payload is not JSON`, "OK: nothing was lost",
	} {
		require.Contains(t, stdout.String(), text)
	}
	require.Contains(t, stderr.String(), "orders 40/40")
}

func TestGoRun(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the demo")
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "--json", "--orders", "40")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	requireReport(t, stdout, smallOrders)
}

func TestPostgresIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	url := testdb.PostgresDSN(t)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--database-url", url}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)

	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`).Scan(&left))
	require.Zero(t, left)
}

func TestSQLiteFileIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.db")
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(file))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), `CREATE TABLE orders (id INTEGER)`)
	require.NoError(t, err)

	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--database-url", "sqlite:" + file}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'`).Scan(&left))
	require.Equal(t, 1, left)
}

func TestRedisIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	server := os.Getenv("OUTBOX_TEST_REDIS_URL")
	if server == "" {
		t.Skip("skipped: OUTBOX_TEST_REDIS_URL names no server; make test starts one")
	}
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/14" // nobody else's, to see what is left
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--redis-url", u.String()}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)

	options, err := redis.ParseURL(u.String())
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer func() { require.NoError(t, client.Close()) }()
	left, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown flag":      {[]string{"--order", "3"}, 2, "flag provided but not defined"},
		"argument":          {[]string{"300"}, 2, "want flags only"},
		"no orders":         {[]string{"--orders", "0"}, 2, "at least one order"},
		"database scheme":   {[]string{"--database-url", "oracle://x"}, 1, "must start with postgres:// or sqlite:"},
		"redis that is off": {[]string{"--redis-url", "redis://127.0.0.1:1"}, 1, "redis: dial tcp 127.0.0.1:1: connect: connection refused"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.want)
			require.Empty(t, stdout.String())
		})
	}
}
