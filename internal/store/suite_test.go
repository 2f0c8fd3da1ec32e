package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// exercise is what the store promises on every database and through every connection.
func exercise(t *testing.T, db *sql.DB) {
	ctx := context.Background()
	s := open(t, db)
	insert := func(key string) store.Event {
		t.Helper()
		var seq int64
		require.NoError(t, db.QueryRowContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id)
			VALUES ('orders', '{"a":1}', 'order', NULLIF($1, '')) RETURNING seq`, key).Scan(&seq))
		events, err := s.Read(ctx, nil, everySlot(s), 1000, store.Filter{}, nil)
		require.NoError(t, err)
		for _, e := range events {
			if e.Seq == seq {
				return e
			}
		}
		t.Fatalf("%d is not pending", seq)
		return store.Event{}
	}
	status := func(e store.Event) string {
		t.Helper()
		var status string
		require.NoError(t, db.QueryRowContext(ctx, `SELECT status FROM outbox_events WHERE seq = $1`, e.Seq).Scan(&status))
		return status
	}
	require.NoError(t, s.Join(ctx, "g", "me", store.Filter{}, time.Hour))
	leases, err := s.Acquire(ctx, "g", "me", 64)
	require.NoError(t, err)
	epochs := map[int]int64{}
	for _, l := range leases {
		epochs[l.Slot] = l.Epoch
	}
	settle := func(b store.Settlement) store.Settled {
		t.Helper()
		b.Group = "g"
		if b.Epochs == nil {
			b.Epochs = epochs
		}
		once, err := s.Settle(ctx, b)
		require.NoError(t, err)
		twice, err := s.Settle(ctx, b)
		require.NoError(t, err, "settling twice is harmless")
		require.Equal(t, once.Lost, twice.Lost)
		return once
	}
	ref := func(e store.Event) []store.Ref { return []store.Ref{{Slot: e.Slot, Seq: e.Seq}} }
	row := func(e store.Event, state store.State, attempts int, free bool) store.Delivery {
		d := store.Delivery{Seq: e.Seq, Slot: e.Slot, Target: `t'"\ü`, Destination: "d", State: state, Attempts: attempts, Wait: 3600, Error: `no 'luck' "today" \`}
		if h := store.KeyHash("", e.Key()); !free {
			d.KeyHash = &h
		}
		return d
	}

	sent := insert("1")
	require.Equal(t, "NEW", status(sent))
	settle(store.Settlement{Done: ref(sent)})
	require.Equal(t, "SENT", status(sent))

	skipped := insert("2")
	settle(store.Settlement{Passed: ref(skipped), New: []store.Delivery{row(skipped, store.Skipped, 0, true)}})
	require.Equal(t, "SKIPPED", status(skipped))

	dead := insert("3")
	settle(store.Settlement{Passed: ref(dead), New: []store.Delivery{row(dead, store.Dead, 5, true)}})
	require.Equal(t, "DEAD", status(dead))
	var message string
	var count int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT error_message, retry_count FROM outbox_events WHERE status = 'DEAD'`).Scan(&message, &count))
	require.Equal(t, `t'"\ü: no 'luck' "today" \`, message)
	require.Equal(t, 5, count)

	delayed := insert("4")
	settle(store.Settlement{Passed: ref(delayed), New: []store.Delivery{row(delayed, store.Waiting, 0, true)}})
	require.Equal(t, "NEW", status(delayed))

	// A failed one holds two of its key, which are released one by one.
	first, second, third := insert("k"), insert("k"), insert("k")
	settle(store.Settlement{Passed: ref(first), New: []store.Delivery{row(first, store.Waiting, 1, false)}})
	require.Equal(t, "FAILED", status(first))
	settle(store.Settlement{Passed: append(ref(second), ref(third)...), New: []store.Delivery{row(third, store.Held, 0, false), row(second, store.Held, 0, false)}})
	require.Equal(t, "NEW", status(second))
	stateOf := func(e store.Event) (state string) {
		t.Helper()
		require.NoError(t, db.QueryRowContext(ctx, `SELECT state FROM outbox_deliveries WHERE seq = $1`, e.Seq).Scan(&state))
		return state
	}
	require.Equal(t, []string{"waiting", "held", "held"}, []string{stateOf(first), stateOf(second), stateOf(third)})
	key := store.HeldKey{Slot: first.Slot, Target: `t'"\ü`, KeyHash: store.KeyHash("", "order:k")}
	held, err := s.HeldKeys(ctx, []int{first.Slot})
	require.NoError(t, err)
	require.Contains(t, held, key)
	result := settle(store.Settlement{Ended: []store.Delivery{row(first, "", 2, false)}, Freed: []store.HeldKey{key}})
	require.Empty(t, result.Free, "others of the key are left")
	require.Equal(t, "SENT", status(first))
	require.Equal(t, []string{"waiting", "held"}, []string{stateOf(second), stateOf(third)})
	due, waiting, err := s.NextDue(ctx, []int{second.Slot})
	require.NoError(t, err)
	require.True(t, waiting)
	require.LessOrEqual(t, due, time.Duration(0), "what is released is due at once")
	settle(store.Settlement{Failed: []store.Delivery{row(second, store.Dead, 5, true)}, Freed: []store.HeldKey{key}})
	require.Equal(t, []string{"dead", "waiting"}, []string{stateOf(second), stateOf(third)})
	result = settle(store.Settlement{Ended: []store.Delivery{row(third, "", 1, false)}, Freed: []store.HeldKey{key}})
	require.Equal(t, []store.HeldKey{key}, result.Free)

	// Under an epoch that has ended, success counts and failure does not.
	lost, won := insert("l"), insert("w")
	old := map[int]int64{}
	for slot, epoch := range epochs {
		old[slot] = epoch - 1
	}
	result = settle(store.Settlement{Epochs: old, Passed: ref(lost), New: []store.Delivery{row(lost, store.Waiting, 1, false)}, Done: ref(won)})
	require.True(t, result.Lost[lost.Slot])
	require.Equal(t, "NEW", status(lost))
	require.Equal(t, "SENT", status(won))
	var n int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM outbox_deliveries WHERE seq = $1`, lost.Seq).Scan(&n))
	require.Zero(t, n)
	// What a former owner has delivered is over, whatever the new one made of it.
	over := insert("o")
	settle(store.Settlement{Epochs: old, Done: ref(over)})
	settle(store.Settlement{Passed: ref(over), New: []store.Delivery{row(over, store.Waiting, 1, false)}})
	require.Equal(t, "SENT", status(over))
	// A slot that nobody owns is as lost.
	require.NoError(t, s.Release(ctx, "me", []int{lost.Slot}))
	require.True(t, settle(store.Settlement{Passed: ref(lost), New: []store.Delivery{row(lost, store.Waiting, 1, false)}}).Lost[lost.Slot])

	// Groups and filters.
	require.ErrorIs(t, s.Join(ctx, "g", "other filter", store.Filter{Topics: []string{"a"}}, time.Minute), store.ErrGroupConflict)
	require.ErrorIs(t, s.Join(ctx, "h", "overlap", store.Filter{Topics: []string{"a"}}, time.Minute), store.ErrGroupConflict)
	members, err := s.Members(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, []string{"me"}, members, "who may not join is no member")
	require.NoError(t, s.Leave(ctx, "me"))
	require.NoError(t, s.Leave(ctx, "me"))
	require.NoError(t, s.Join(ctx, "h", "a", store.Filter{Topics: []string{"a", `b'"\,{}`}}, time.Minute))
	require.NoError(t, s.Join(ctx, "i", "b", store.Filter{Topics: []string{"b"}}, time.Minute))
	require.ErrorIs(t, s.Join(ctx, "j", "c", store.Filter{Tenants: []string{"t"}}, time.Minute), store.ErrGroupConflict)
	_, err = s.Read(ctx, nil, everySlot(s), 1000, store.Filter{Topics: []string{`b'"\,{}`, ""}, Tenants: []string{"ü"}}, nil)
	require.NoError(t, err)
	_, err = s.Backlog(ctx, true)
	require.NoError(t, err)

	// Payloads that are no JSON are shown as NULL, and harm no other row.
	for _, payload := range []string{"", "{", "\x00", "\xff\xfe", "nul\\u0000", `"\u0000"`} {
		_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload_bytes) VALUES ('odd', $1)`, []byte(payload))
		require.NoError(t, err)
	}
	hexOf := "encode(payload_bytes, 'hex')" // as text, which no setting changes
	if d, _ := schema.DialectOf(db); d == schema.SQLite {
		hexOf = "lower(hex(payload_bytes))"
	}
	rows, err := db.QueryContext(ctx, `SELECT payload, `+hexOf+` FROM outbox_events WHERE topic IN ('odd', 'orders')`)
	require.NoError(t, err)
	defer rows.Close()
	shown := 0
	for rows.Next() {
		var payload sql.NullString
		var raw string
		require.NoError(t, rows.Scan(&payload, &raw))
		if payload.Valid {
			shown++
			require.Equal(t, raw, fmt.Sprintf("%x", payload.String))
		}
	}
	require.NoError(t, rows.Err())
	require.GreaterOrEqual(t, shown, 9)
}

func TestStore(t *testing.T) {
	t.Parallel()
	testdb.Each(t, exercise)
}

// The same through other ways of talking to PostgreSQL.
func TestStoreInEveryExecMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"simple_protocol", "exec", "describe_exec", "cache_describe"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t) + "&default_query_exec_mode=" + mode
			exercise(t, testdb.Migrated(t, testdb.Open(t, dsn)))
		})
	}
}

func TestStoreThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"simple_protocol", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PgBouncer(t, testdb.PostgresDatabase(t))
			exercise(t, testdb.Migrated(t, testdb.Open(t, fmt.Sprintf("%s&default_query_exec_mode=%s", dsn, mode))))
		})
	}
}
