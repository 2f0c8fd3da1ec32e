package store_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func open(t *testing.T, db *sql.DB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), db, schema.Config{})
	require.NoError(t, err)
	return s
}

func everySlot(s *store.Store) []store.Range {
	var r []store.Range
	for i := range s.SlotCount() {
		r = append(r, store.Range{Slot: i, Limit: 1000})
	}
	return r
}

func TestPlainInsertIsPending(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db)
		before, err := s.Ask(ctx)
		require.NoError(t, err)
		_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('orders', '{"a":1}')`)
		require.NoError(t, err)
		_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id, event_metadata) VALUES ('orders', 'x', 'order', '7', '{"n":1,"s":"t"}')`)
		require.NoError(t, err)
		after, err := s.Ask(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Last+2, after.Last)
		events, err := s.Read(ctx, nil, everySlot(s), 1<<16, store.Filter{}, nil)
		require.NoError(t, err)
		require.Len(t, events, 2)
		if events[0].Seq > events[1].Seq {
			events[0], events[1] = events[1], events[0]
		}
		require.Equal(t, `{"a":1}`, string(events[0].Payload))
		require.WithinDuration(t, time.Now(), events[0].CreatedAt, time.Minute)
		if s.SlotCount() > 1 {
			require.Equal(t, store.Slot("", "order:7"), events[1].Slot)
		}
		require.JSONEq(t, `{"n":1,"s":"t"}`, events[1].Metadata)

		long, err := s.Read(ctx, nil, everySlot(s), 1, store.Filter{Topics: []string{"orders"}}, nil)
		require.NoError(t, err)
		require.Nil(t, long[0].Payload[:0:0])
		other, err := s.Read(ctx, nil, everySlot(s), 1, store.Filter{Tenants: []string{"nobody"}}, nil)
		require.NoError(t, err)
		require.Len(t, other, 2)
		require.Empty(t, other[0].Topic)

		_, err = s.Settle(ctx, store.Settlement{Done: []store.Ref{{Slot: events[0].Slot, Seq: events[0].Seq}}})
		require.NoError(t, err)

		// The second fails, and a later event of its key is held behind it.
		require.NoError(t, s.Join(ctx, "g", "me", store.Filter{}, time.Minute))
		members, err := s.Members(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, []string{"me"}, members)
		leases, err := s.Acquire(ctx, "g", "me", 64)
		require.NoError(t, err)
		require.Len(t, leases, s.SlotCount())
		epochs := map[int]int64{}
		for _, l := range leases {
			epochs[l.Slot] = l.Epoch
		}
		key := store.KeyHash("", "order:7")
		e := events[1]
		b := store.Settlement{Group: "g", Epochs: epochs, Passed: []store.Ref{{Slot: e.Slot, Seq: e.Seq}},
			New: []store.Delivery{{Seq: e.Seq, Target: "orders", Slot: e.Slot, KeyHash: &key, Destination: "orders", State: store.Waiting, Attempts: 1, Error: "no \"luck\"\\"}}}
		res, err := s.Settle(ctx, b)
		require.NoError(t, err)
		require.Empty(t, res.Lost)
		slots := []int{e.Slot}
		due, err := s.Due(ctx, slots, 10, 10, 1<<16, store.Filter{})
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, 1, due[0].Attempts)
		require.Equal(t, "x", string(due[0].Event.Payload))
		wait, ok, err := s.NextDue(ctx, slots)
		require.NoError(t, err)
		require.True(t, ok)
		require.LessOrEqual(t, wait, time.Duration(0))
		held, err := s.HeldKeys(ctx, slots)
		require.NoError(t, err)
		require.Equal(t, []store.HeldKey{{Slot: e.Slot, Target: "orders", KeyHash: key}}, held)

		var status string
		require.NoError(t, db.QueryRowContext(ctx, `SELECT status FROM outbox_events WHERE topic = 'orders' AND seq = 2`).Scan(&status))
		require.Equal(t, "FAILED", status)
		require.NoError(t, db.QueryRowContext(ctx, `SELECT status FROM outbox_events WHERE topic = 'orders' AND seq = 1`).Scan(&status))
		require.Equal(t, "SENT", status)
		backlog, err := s.Backlog(ctx, false)
		require.NoError(t, err)
		require.Equal(t, int64(1), backlog.State(store.Waiting).Count)

		res, err = s.Settle(ctx, store.Settlement{Ended: []store.Delivery{due[0].Delivery}, Freed: held})
		require.NoError(t, err)
		require.Equal(t, held, res.Free)
		pending, err := s.Open(ctx, store.Filter{})
		require.NoError(t, err)
		require.False(t, pending)
		owned, err := s.Renew(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.Equal(t, s.SlotCount(), owned)
		require.NoError(t, s.Release(ctx, "me", slots))
		require.NoError(t, s.Leave(ctx, "me"))
		_, err = s.Renew(ctx, "me", time.Minute)
		require.ErrorIs(t, err, store.ErrNotMember)
	})
}

// Plain SQL can store a time that Go does not have.
func TestEventOfAnInfiniteTimeIsRead(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	s := open(t, db)
	_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, occurred_at) VALUES ('t', '1', 'infinity'), ('t', '2', '-infinity'), ('t', '3', now())`)
	require.NoError(t, err)
	events, err := s.Read(t.Context(), nil, everySlot(s), 1<<16, store.Filter{}, nil)
	require.NoError(t, err)
	years := map[string]int{}
	for _, e := range events {
		years[string(e.Payload)] = e.OccurredAt.Year()
	}
	require.Equal(t, map[string]int{"1": 9999, "2": 1, "3": time.Now().UTC().Year()}, years)
}
