package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// The first lines of the log name everything that is served, from where, to where and by what. No line of the log, whatever happens, has a key twice.
func TestStartUpNamesEverything(t *testing.T) {
	t.Parallel()
	file := binary(t)
	directory := t.TempDir()
	url := testdb.PostgresDSN(t)
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	require.NoError(t, os.WriteFile(filepath.Join(directory, "routes.yaml"), []byte("routes: [{topic: orders, config: {targets: [{destination: 'shop://a'}]}}]\n"), 0o600))
	p := startIn(t, os.Environ(), directory, file, "run", "--destination", "shop=https://shop.example/tiger", "--destination", "bus=kafka://127.0.0.1:1", "--poison-destination", "bus://dead",
		"--routes", "routes.yaml", "--group", "g", "--topics", "orders,x", "--tenants", "acme", "--profile", "low_latency", "--cleanup-at", "03:00", "--metrics-port", "0",
		"--action-token", "0123456789abcdef", "--log-format", "json", "--log-level", "trace", "--alert-dead-warning", "1", "--database-url", url)
	p.waitFor(t, `"msg":"Forwarding"`)
	db := testdb.Open(t, url)
	_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, tenant_id, payload, routing_key) VALUES ('orders', 'acme', '{}', 'nobody://x'), ('orders', 'acme', '{}', 'shop://b')`)
	require.NoError(t, err)
	p.waitFor(t, `"msg":"Alert: 1 delivery gave up: at or above 1."`)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())

	var forwarding, serving map[string]any
	for line := range strings.Lines(p.logs()) {
		fields := once(t, line)
		switch fields["msg"] {
		case "Forwarding":
			forwarding = fields
		case "Serving HTTP":
			serving = fields
		}
	}
	require.Contains(t, forwarding["database"], "PostgreSQL at ")
	for key, want := range map[string]any{
		"destinations": map[string]any{"shop": "https://shop.example/xxxxx", "bus": "kafka://127.0.0.1:1"}, "routes": "routes.yaml", "group": "g",
		"tenants": []any{"acme"}, "topics": []any{"orders", "x"}, "profile": "low_latency", "cleanup": "03:00", "poison_destination": "bus://dead",
	} {
		require.Equal(t, want, forwarding[key], key)
	}
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, serving["address"])
	require.Equal(t, true, serving["actions"])
	for _, page := range serving["pages"].([]any) {
		require.Contains(t, []string{"/healthz", "/readyz", "/", "/metrics", "/status.json", "/history.json"}, page)
	}
	require.Len(t, serving["pages"], 6)
}

// once decodes an object of JSON no key of which is given twice, at any depth.
func once(t *testing.T, line string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	type level struct {
		keys   map[string]bool // nil in an array
		isName bool
	}
	var open []level
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // it is that of a reader
			break
		}
		require.NoError(t, err, line)
		value := true
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open = append(open, level{map[string]bool{}, true})
				value = false
			case '[':
				open = append(open, level{})
				value = false
			default:
				open = open[:len(open)-1]
			}
		case string:
			if n := len(open) - 1; n >= 0 && open[n].isName {
				require.False(t, open[n].keys[token], "%q is given twice: %s", token, line)
				open[n].keys[token], open[n].isName, value = true, false, false
			}
		}
		if n := len(open) - 1; value && n >= 0 && open[n].keys != nil {
			open[n].isName = true
		}
	}
	fields := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(line), &fields))
	return fields
}
