package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Slots are stored with events, so these numbers never change.
var slotVectors = []struct {
	tenant, aggregateType, aggregateID, ordering string
	slot                                         int
}{
	{"", "order", "7", "", 4},
	{"acme", "order", "7", "", 11},
	{"", "", "7", "", 48},
	{"", "", "", "customer-1", 11},
	{"", "order", "7", "an aggregate goes before it", 4},
	{"ünï", "bestellung", "größe-1", "", 23},
	{"租户", "订单", "🙂", "", 47},
	{`back\slash`, `a\b`, `\x41\\`, "", 3},
	{`\`, `\`, `\`, "", 49},
	{"'", `"`, "%s $1 ?", "", 38},
	{"", "", " ", "", 44},
	{strings.Repeat("t", 1000), strings.Repeat("a", 1000), strings.Repeat("ü", 500), "", 35},
}

func TestSlotsAreTheSameInGoAndSQL(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		for i, v := range slotVectors {
			e := store.Event{TenantID: v.tenant, AggregateType: v.aggregateType, AggregateID: v.aggregateID, OrderingKey: v.ordering}
			require.Equal(t, v.slot, store.Slot(v.tenant, e.Key()), "vector %d", i)
			var slot int
			require.NoError(t, db.QueryRowContext(context.Background(), `INSERT INTO outbox (topic, payload, tenant_id, aggregate_type, aggregate_id, ordering_key)
				VALUES ('t', '', $1, NULLIF($2, ''), NULLIF($3, ''), NULLIF($4, '')) RETURNING slot`,
				v.tenant, v.aggregateType, v.aggregateID, v.ordering).Scan(&slot))
			if s.SlotCount() == 1 {
				require.Zero(t, slot)
			} else {
				require.Equal(t, v.slot, slot, "vector %d", i)
			}
		}
	})
}

func TestEventsWithoutAKeyAreSpread(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	ctx := context.Background()
	_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 640)`)
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) SELECT 't', '', 'a type alone is no key', '' FROM generate_series(1, 640)`)
	require.NoError(t, err)
	var least, most int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT min(n), max(n) FROM (SELECT count(*) AS n FROM outbox GROUP BY slot) s`).Scan(&least, &most))
	require.Equal(t, []int{20, 20}, []int{least, most})
	require.Equal(t, fmt.Sprint(store.Slots), "64")
}
