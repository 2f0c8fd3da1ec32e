package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunRoutesByFile(t *testing.T) {
	t.Parallel()
	file := binary(t)
	routes := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "routes.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		insert(t, open(), "orders", `{"total":1}`, `{"total":2000}`)
		vip := routes(t, "- topic: orders\n  config:\n    targets:\n      - destination: out://vip\n        retry_policy: mine\n        conditions: {payload.total: {$gt: 1000}}\n")
		args := []string{"run", "--once", "--destination", "out=console://stdout", "--database-url", url}

		bad := outbox(append(args, "--routes", routes(t, "- topic: orders\n  config:\n    targets:\n      - destination: uot://vip\n"), "--policy", "mine=1")...)
		require.Equal(t, statusUsage, bad.status)
		require.Contains(t, bad.stderr, `/0/config/targets/0/destination`)
		require.Contains(t, bad.stderr, `--policy mine: want ATTEMPTS,INITIAL`)
		require.Contains(t, outbox(append(args, "--routes", "missing.yaml")...).require(t, statusUsage).stderr, "missing.yaml")

		p := start(t, file, append(args, "--routes", vip, "--policy", "mine=3,1s,2,1m")...)
		require.Zero(t, p.end(t), p.logs())
		require.Equal(t, []string{`{"total":2000}`}, p.payloads())
	})
}
