package store_test

import (
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// What an administrator sets for a database changes how sessions write and read values, and what they may see of each other. The store works regardless.
func TestStoreUnderTheSettingsOfADatabase(t *testing.T) {
	t.Parallel()
	for _, settings := range [][]string{
		{"bytea_output = 'escape'"},
		{"DateStyle = 'SQL, DMY'"},
		{"DateStyle = 'German'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kolkata'", "extra_float_digits = -15"},
		{"DateStyle = 'Postgres, MDY'", "IntervalStyle = 'postgres_verbose'", "TimeZone = 'America/St_Johns'", "extra_float_digits = 0", "bytea_output = 'escape'"},
		{"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "escape_string_warning = on", "backslash_quote = off"},
		{"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on"},
		{"default_transaction_isolation = 'repeatable read'"},
		{"row_security = off", "array_nulls = off", "quote_all_identifiers = on", "xmloption = 'document'"},
		{"search_path = '\"$user\", public, pg_catalog'", "transform_null_equals = on", "lc_messages = 'C'", "lc_numeric = 'C'", "lc_monetary = 'C'", "lc_time = 'C'"},
		{"enable_indexscan = off", "enable_nestloop = off", "plan_cache_mode = 'force_generic_plan'", "jit = off"}, // what is off costs enough for all of jit
		{"jit_above_cost = 0"},
	} {
		for _, mode := range []string{"simple_protocol", "cache_statement"} {
			t.Run(strings.Join(settings, " ")+" "+mode, func(t *testing.T) {
				t.Parallel()
				dsn := testdb.PostgresDatabase(t)
				u, err := url.Parse(dsn)
				require.NoError(t, err)
				admin := testdb.Open(t, dsn)
				for _, setting := range settings {
					_, err := admin.ExecContext(t.Context(), fmt.Sprintf(`ALTER DATABASE %s SET %s`, strings.TrimPrefix(u.Path, "/"), strings.Replace(setting, "'\"$user\", public, pg_catalog'", `"$user", public, pg_catalog`, 1)))
					require.NoError(t, err, setting)
				}
				dsn += "&default_query_exec_mode=" + mode
				if strings.HasPrefix(settings[0], "client_encoding") {
					refusesEncoding(t, dsn)
					dsn += "&client_encoding=UTF8"
					if mode == "simple_protocol" {
						dsn += "&standard_conforming_strings=on"
					}
				}
				db := testdb.Migrated(t, testdb.Open(t, dsn))
				readsBack(t, db)
				exercise(t, db)
			})
		}
	}
}

// refusesEncoding checks that text that the server would take for that of another encoding is neither written nor read: the store says so, and
// pgx itself where it writes text.
func refusesEncoding(t *testing.T, dsn string) {
	t.Helper()
	testdb.Migrated(t, testdb.Open(t, dsn+"&client_encoding=UTF8&standard_conforming_strings=on"))
	_, err := store.Open(t.Context(), testdb.Open(t, dsn+"&standard_conforming_strings=on"), schema.Config{})
	require.ErrorContains(t, err, "client_encoding=UTF8")
}

// readsBack checks that times, bytes and numbers come back as they were stored.
func readsBack(t *testing.T, db *sql.DB) {
	t.Helper()
	ctx := t.Context()
	s := open(t, db)
	raw := []byte("\\ \\x27 '\x00\xff\n")
	first, last := time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	times := map[string]time.Time{
		"2024-02-03 04:05:06.789012+00": time.Date(2024, 2, 3, 4, 5, 6, 789012000, time.UTC), "0044-03-15 12:00:00.000001+00 BC": time.Date(-43, 3, 15, 12, 0, 0, 1000, time.UTC),
		"1850-01-02 00:00:00+00": time.Date(1850, 1, 2, 0, 0, 0, 0, time.UTC), "infinity": last, "-infinity": first,
	}
	seqs := map[int64]string{}
	for _, text := range slices.Sorted(maps.Keys(times)) {
		var seq int64
		require.NoError(t, db.QueryRowContext(ctx, `INSERT INTO outbox (topic, payload_bytes, occurred_at, created_at) VALUES ('settings', $1, $2::text::timestamptz, $2::text::timestamptz)
			RETURNING seq`, raw, text).Scan(&seq))
		seqs[seq] = text
	}
	check := func(list []store.Event, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Len(t, list, len(times))
		for _, e := range list {
			want := times[seqs[e.Seq]]
			require.Equal(t, raw, e.Payload)
			require.WithinDuration(t, want, e.OccurredAt, 0, seqs[e.Seq])
			require.WithinDuration(t, want, e.CreatedAt, 0, seqs[e.Seq])
		}
	}
	numbers := slices.Collect(maps.Keys(seqs))
	events, err := s.Read(ctx, nil, everySlot(s), 1000, store.Filter{}, nil)
	check(events, err)
	check(s.Events(ctx, numbers, 1000))
	for _, look := range []store.Look{{Seqs: numbers, Limit: 10, Inline: 1000}, {Limit: 10, Inline: 1000}, {Last: 10, Limit: 10, Inline: 1000}} {
		list, err := s.Look(ctx, look)
		require.NoError(t, err)
		var seen []store.Event
		for _, g := range list {
			seen = append(seen, g.Event)
		}
		check(seen, nil)
	}
	bytes, err := s.Payload(ctx, numbers[0])
	require.NoError(t, err)
	require.Equal(t, raw, bytes)

	require.NoError(t, s.Join(ctx, "g", "me", store.Filter{}, time.Minute))
	leases, err := s.Acquire(ctx, "g", "me", 64)
	require.NoError(t, err)
	b := store.Settlement{Group: "g", Epochs: map[int]int64{}}
	for _, l := range leases {
		b.Epochs[l.Slot] = l.Epoch
	}
	for _, e := range events {
		b.Passed = append(b.Passed, store.Ref{Slot: e.Slot, Seq: e.Seq})
		for _, state := range []store.State{store.Waiting, store.Held, store.Dead} {
			b.New = append(b.New, store.Delivery{Seq: e.Seq, Slot: e.Slot, Target: string(state), Destination: "d", State: state})
		}
	}
	_, err = s.Settle(ctx, b)
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `UPDATE outbox_deliveries SET state = 'held' WHERE target = 'held'`)
	require.NoError(t, err)
	var slots []int
	for _, r := range everySlot(s) {
		slots = append(slots, r.Slot)
	}
	of := func(list []store.Due, err error) ([]store.Event, error) {
		var events []store.Event
		for _, d := range list {
			events = append(events, d.Event)
		}
		return events, err
	}
	check(of(s.Due(ctx, slots, 1000, 10, 1000, store.Filter{})))
	check(of(s.Held(ctx, nil, everySlot(s), 1000, 1000, store.Filter{}, "", false)))
	now := func(at time.Time) { t.Helper(); require.WithinDuration(t, time.Now(), at, time.Hour) }
	dead, err := s.Dead(ctx, store.DeadFilter{Until: time.Now().Add(time.Hour)}, nil, 10)
	require.NoError(t, err)
	require.Len(t, dead, len(times))
	for _, d := range dead {
		now(d.FailedAt)
		now(d.DiedAt)
		require.WithinDuration(t, times[seqs[d.Seq]], d.CreatedAt, 0)
	}
	_, err = db.ExecContext(ctx, `UPDATE outbox_deliveries SET due = clock_timestamp() + interval '12345.5 seconds' WHERE state = 'waiting'`)
	require.NoError(t, err)
	due, _, err := s.NextDue(ctx, slots)
	require.NoError(t, err)
	require.Greater(t, due, 12000*time.Second)
	require.LessOrEqual(t, due, 12345500*time.Millisecond)

	require.NoError(t, s.Pause(ctx, store.PausedTenant, "t", "because"))
	controls, err := s.Controls(ctx)
	require.NoError(t, err)
	now(controls[0].Since)
	require.NoError(t, s.Resume(ctx, store.PausedTenant, "t"))
	fleet, err := s.Fleet(ctx)
	require.NoError(t, err)
	now(fleet.Forwarders[0].Started)
	begun, floor, err := s.BeginCleanup(ctx, "me", time.Minute)
	require.NoError(t, err)
	now(begun)
	_, err = db.ExecContext(ctx, `DELETE FROM outbox_deliveries`)
	require.NoError(t, err)
	cleaned, err := s.CleanSent(ctx, store.CleanupBatch{Owner: "me", After: floor, Limit: 10, Sent: last})
	require.NoError(t, err)
	require.Equal(t, len(times), cleaned.Looked)
	require.WithinDuration(t, times["2024-02-03 04:05:06.789012+00"], cleaned.At, time.Millisecond)
	require.NoError(t, s.EndCleanup(ctx, "me", 0, store.Removed{}, true))
	cleanup, err := s.LastCleanup(ctx)
	require.NoError(t, err)
	now(cleanup.StartedAt)
	now(cleanup.FinishedAt)
	now(cleanup.Now)
	m, err := schema.NewMigrator(db, schema.Config{})
	require.NoError(t, err)
	status, err := m.Status(ctx)
	require.NoError(t, err)
	now(status[0].AppliedAt)

	// What functions of the table make of backslashes.
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('settings', $1)`, `\x7b7d`)
	require.ErrorContains(t, err, `payload was given bytes, which PostgreSQL writes as text, \x...`)
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, tenant_id, ordering_key) VALUES ('settings', '', $1, $1)`, `a\9\`)
	require.NoError(t, err)

	_, err = db.ExecContext(ctx, `TRUNCATE outbox`)
	require.NoError(t, err)
	require.NoError(t, s.Leave(ctx, "me"))
}
