package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A command works whatever encoding and strings a database is set to, also with the protocol that its driver refuses there.
func TestSettingsOfADatabase(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDatabase(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	admin := testdb.Open(t, dsn)
	for _, setting := range []string{"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "DateStyle = 'SQL, DMY'", "bytea_output = 'escape'"} {
		_, err := admin.ExecContext(t.Context(), "ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" SET "+setting)
		require.NoError(t, err)
	}
	for _, mode := range []string{"", "&default_query_exec_mode=simple_protocol"} {
		outbox("migrate", "up", "--database-url", dsn+mode).require(t, statusDone)
		_, err := testdb.Open(t, dsn+"&client_encoding=UTF8").ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('orders', 'für 9 €')`)
		require.NoError(t, err)
		r := outbox("tail", "--no-follow", "--payload", "--database-url", dsn+mode).require(t, statusDone)
		require.Contains(t, r.stdout, "für 9 €")
		outbox("run", "--once", "--to", "console://stderr", "--database-url", dsn+mode).require(t, statusDone)
		outbox("stats", "--database-url", dsn+mode).require(t, statusDone)
		r = outbox("diagnose", "--database-url", dsn+mode).require(t, statusFailed)
		require.Contains(t, r.stderr, "not healthy: 1 warning", "no forwarder is alive")
	}
}
