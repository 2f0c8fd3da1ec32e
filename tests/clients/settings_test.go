package clients_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A forwarder whose driver is lib/pq, which gets every value as text, under the settings of a database that change how values are written and read.
func TestPqUnderTheSettingsOfADatabase(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDatabase(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	admin := testdb.Open(t, dsn)
	for _, setting := range []string{
		"bytea_output = 'escape'", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kolkata'", "standard_conforming_strings = off",
		"extra_float_digits = -15", "client_encoding = 'LATIN1'",
	} {
		_, err := admin.ExecContext(t.Context(), "ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" SET "+setting)
		require.NoError(t, err, setting)
	}
	db, err := sql.Open("postgres", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	testdb.Migrated(t, db)
	payloads := map[string][]byte{}
	for _, r := range rows() {
		if r.kind != "text" && r.kind != "bytes" {
			continue
		}
		column, value := "payload", any(r.payload)
		if r.kind == "bytes" {
			column, value = "payload_bytes", []byte(r.payload)
		}
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, `+column+`, tenant_id, aggregate_type, aggregate_id, occurred_at)
			VALUES ($1, $2, 't\\1', 'order', $1, '2024-02-03 04:05:06.789012+00')`, r.topic, value)
		require.NoError(t, err, r.topic)
		payloads[r.topic] = []byte(r.payload)
	}
	got := &sink{payloads: map[string][]byte{}}
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": got}, forwarder.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, f.Drain(t.Context()))
	require.Len(t, got.payloads, len(payloads))
	for topic, want := range payloads {
		require.Equal(t, string(want), string(got.payloads[topic]), topic)
	}
}
