package main

import (
	"database/sql"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

func TestStats(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		counts := func() stats {
			var s stats
			r := outbox("stats", "--json", "--database-url", url).require(t, statusDone)
			require.NoError(t, json.Unmarshal([]byte(r.stdout), &s), r.stdout)
			return s
		}
		require.Equal(t, stats{Deliveries: []countStats{}, Tenants: []countStats{}, Topics: []countStats{}, Paused: []heldStats{}, Unreachable: []heldStats{}}, counts())

		db := open()
		insert(t, db, "nowhere", `{}`, `{}`)
		require.Equal(t, int64(2), counts().Pending.Count)
		require.Regexp(t, `pending +- +2 +\d`, outbox("stats", "--database-url", url).require(t, statusDone).stdout)
		require.Equal(t, "nowhere", *counts().Topics[0].Topic)
		require.Regexp(t, `(?m)^state +topic +count +oldest\npending +nowhere +2 +\d`, outbox("stats", "--by", "topic", "--database-url", url).require(t, statusDone).stdout)
		require.Regexp(t, `(?m)^pending +- +2 +\d`, outbox("stats", "--by", "tenant", "--database-url", url).require(t, statusDone).stdout)

		// Two publishers and no default one: a bare topic goes nowhere.
		outbox("run", "--once", "--destination", "a=console://", "--destination", "b=console://", "--database-url", url).require(t, statusDone)
		got := counts()
		require.Zero(t, got.Pending)
		require.Len(t, got.Deliveries, 1)
		require.Positive(t, got.Deliveries[0].OldestSeconds)
		got.Deliveries[0].OldestSeconds = 0
		require.Equal(t, countStats{State: "dead", Destination: pointer("nowhere"), Count: 2}, got.Deliveries[0])
		require.Regexp(t, `dead +nowhere +2 +\d`, outbox("stats", "--database-url", url).require(t, statusDone).stdout)

		_, err := db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
			INSERT INTO outbox (topic, payload) SELECT 'orders', '{}' FROM n`)
		require.NoError(t, err)
		got = counts()
		require.True(t, got.Pending.More)
		require.Equal(t, map[store.State]int64{store.Pending: 15000}, got.Span)
		require.Regexp(t, `pending +- +10000\+ +\d.*\ndead +nowhere +2 +\d.*\n\n\+ .*span: pending 15000\n$`, outbox("stats", "--database-url", url).require(t, statusDone).stdout)
		require.Regexp(t, `(?m)^pending +orders +15000 +\d`, outbox("stats", "--exact", "--by", "topic", "--database-url", url).require(t, statusDone).stdout)
	})
}

func pointer[T any](v T) *T { return &v }
