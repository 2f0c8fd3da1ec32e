package forwarder_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestReplayOfDeadLettersSendsToUnfinishedTargetsOnly(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		st, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		table := routes(t)
		rec := newRecorder()
		rec.fail = failTopic("a", "f")
		publishRouted(t, db, table, "t",
			configured("k", "1", `{"targets":[{"destination":"a"},{"destination":"b"}]}`),
			configured("k", "2", `{"fallback":"f","targets":[{"destination":"a"}]}`),
			configured("k", `3`, `{"fallback":"f","targets":[{"destination":"a","conditions":{"topic":"other"}}]}`))
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		eventually(t, "three are dead", func() bool { return statuses(t, db)["DEAD"] == 3 })

		list, err := st.Dead(ctx, store.DeadFilter{}, nil, 10)
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, "down", list[0].Error)
		require.Equal(t, 1, list[0].Attempts)
		page, err := st.Dead(ctx, store.DeadFilter{}, &list[0], 1)
		require.NoError(t, err)
		require.Equal(t, list[1:2], page)
		for _, f := range []store.DeadFilter{
			{Tenant: "x"}, {Topic: "x"}, {Target: "x"}, {Destination: "x"}, {Error: "x"}, {Seqs: []int64{99}}, {Until: list[0].CreatedAt},
		} {
			none, err := st.Dead(ctx, f, nil, 10)
			require.NoError(t, err)
			require.Empty(t, none, "%+v", f)
		}

		rec.setFail(nil)
		n, err := st.Replay(ctx, store.DeadFilter{Topic: "t", Error: "down", Since: list[0].CreatedAt})
		require.NoError(t, err)
		require.Equal(t, 3, n)
		eventually(t, "all are sent", func() bool { return statuses(t, db)["SENT"] == 3 })
		require.ElementsMatch(t, []string{"1", "2"}, rec.payloads("a"), "the target itself, not its fallback")
		require.Equal(t, []string{"1"}, rec.payloads("b"), "not again")
		require.Equal(t, []string{"3"}, rec.payloads("f"))
	})
}

func TestTheKeyGoesOnWhenItsDeadOneIsGone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		act    func(*store.Store, context.Context, store.DeadFilter) (int, error)
		sent   []string
		status map[string]int
	}{
		{"discarded", (*store.Store).Discard, []string{"2", "3"}, map[string]int{"SKIPPED": 1, "SENT": 2}},
		{"replayed", (*store.Store).Replay, []string{"1", "2", "3"}, map[string]int{"SENT": 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				ctx := context.Background()
				st, err := store.Open(ctx, db, schema.Config{})
				require.NoError(t, err)
				const config = `{"targets":[{"destination":"a","on_dead":"hold_key"}]}`
				table := routes(t)
				rec := newRecorder()
				rec.fail = failTopic("a")
				run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
				publishRouted(t, db, table, "t", configured("k", "1", config), configured("k", "2", config), configured("k", "3", config))
				eventually(t, "one is dead and two are held", func() bool {
					return statuses(t, db)["DEAD"] == 1 && count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == 2
				})
				rec.setFail(nil)
				n, err := test.act(st, ctx, store.DeadFilter{})
				require.NoError(t, err)
				require.Equal(t, 1, n)
				eventually(t, "the others are sent", func() bool { return statuses(t, db)["SENT"] == len(test.sent) })
				require.Equal(t, test.sent, rec.payloads("a"))
				require.Equal(t, test.status, statuses(t, db))
				publishRouted(t, db, table, "t", configured("k", "4", config))
				eventually(t, "the key is free", func() bool { return len(rec.payloads("a")) == len(test.sent)+1 })
			})
		})
	}
}

func TestReplayOfAnEventThatWasNeverRoutedIsItsFirstPass(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		st, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		// The tables of the publisher know the policy "mine", those of the first forwarder do not.
		with, err := router.NewTable(router.Config{Policies: map[string]middleware.RetryPolicy{"mine": {MaxAttempts: 1, Multiplier: 1}}})
		require.NoError(t, err)
		const config = `{"targets":[{"destination":"a","retry_policy":"mine"},{"destination":"t"},{"destination":"late","delay_seconds":1000}]}`
		publishRouted(t, db, with, "t", configured("k", "1", config))
		rec := newRecorder()
		pubs := map[string]message.Publisher{"x": rec}
		drain(t, db, forwarder.Config{}, pubs)
		require.Equal(t, map[string]int{"DEAD": 1}, statuses(t, db))
		n, err := st.Replay(ctx, store.DeadFilter{Target: store.Unrouted})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		drain(t, db, forwarder.Config{}, pubs)
		require.Equal(t, map[string]int{"DEAD": 1}, statuses(t, db), "as invalid as before")
		_, err = st.Replay(ctx, store.DeadFilter{})
		require.NoError(t, err)
		drain(t, db, forwarder.Config{Routes: with}, pubs)
		require.Equal(t, []string{"1"}, rec.payloads("a"))
		require.Equal(t, []string{"1"}, rec.payloads("t"))
		require.Equal(t, map[string]int{"NEW": 1}, statuses(t, db), "the delayed one is left")
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM outbox_deliveries`))
	})
}

func TestWhatCannotBeSentWaitsBehindADeadOneThatHoldsItsKey(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		rec := newRecorder()
		rec.fail = failTopic("a")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		publishRouted(t, db, table, "t", configured("k", "1", `{"targets":[{"name":"a","destination":"a","on_dead":"hold_key"}]}`),
			configured("k", "2", `{"targets":[{"name":"a","destination":"nowhere://a","on_dead":"hold_key"}]}`),
			configured("k", "no JSON", `{"targets":[{"name":"a","destination":"a","transform":{"include_fields":["x"]}}]}`))
		eventually(t, "one is dead, two are held", func() bool {
			return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'dead' AND seq = 1`) == 1 &&
				count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == 2
		})
	})
}
