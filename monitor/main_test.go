package monitor_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		_, err := db.ExecContext(context.Background(), text)
		require.NoError(t, err, text)
	}
}

// numbers is a common table expression with the numbers from 1 to n.
func numbers(n string) string {
	return `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + n + `) `
}

func open(t testing.TB, db *sql.DB, cfg monitor.Config) *monitor.Monitor {
	t.Helper()
	m, err := monitor.New(context.Background(), db, cfg, nil)
	require.NoError(t, err)
	return m
}

// storeOf returns what forwarders use of an outbox.
func storeOf(t testing.TB, db *sql.DB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), db, schema.Config{})
	require.NoError(t, err)
	return s
}

func take(t testing.TB, m *monitor.Monitor) monitor.Snapshot {
	t.Helper()
	s, err := m.Take(context.Background())
	require.NoError(t, err)
	return s
}
