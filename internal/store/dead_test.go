package store_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Events that are finished, or still pending, are read like any other.
func TestEventsByNumber(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db)
		_, err := db.ExecContext(ctx, `INSERT INTO outbox (tenant_id, topic, payload, routing_config) VALUES ('a', 't', '1', '{"targets":1}'), ('b', 't', '22', NULL), ('c', 't', '333', NULL)`)
		require.NoError(t, err)
		_, err = db.ExecContext(ctx, `DELETE FROM outbox_pending WHERE seq = 1`)
		require.NoError(t, err)
		list, err := s.Events(ctx, []int64{3, 99, 1}, 2)
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, store.Event{
			Seq: 1, Slot: list[0].Slot, TenantID: "a", ID: list[0].ID, Topic: "t", Payload: []byte("1"), PayloadSize: 1, RoutingConfig: `{"targets":1}`,
			OccurredAt: list[0].OccurredAt, CreatedAt: list[0].CreatedAt,
		}, list[0])
		require.False(t, list[0].CreatedAt.IsZero())
		require.Equal(t, int64(3), list[1].Seq)
		require.Nil(t, list[1].Payload, "longer than asked for")
		require.Equal(t, 3, list[1].PayloadSize)
		list, err = s.Events(ctx, nil, 2)
		require.NoError(t, err)
		require.Empty(t, list)
	})
}
