package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A former owner settles the delivery that holds a key while the new owner writes a later one down as held.
func TestHeldDeliveryIsNotForgotten(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	hook := new(testdb.Hook)
	former, heir := open(t, testdb.Hooked(t, dsn, hook)), open(t, db)
	_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) SELECT 't', '', 'a', '1' FROM generate_series(1, 2)`)
	require.NoError(t, err)
	require.NoError(t, heir.Join(ctx, "g", "heir", store.Filter{}, time.Minute))
	leases, err := heir.Acquire(ctx, "g", "heir", 64)
	require.NoError(t, err)
	epochs := map[int]int64{}
	for _, l := range leases {
		epochs[l.Slot] = l.Epoch
	}
	key, slot := store.KeyHash("", "a:1"), store.Slot("", "a:1")
	one := store.Delivery{Seq: 1, Slot: slot, Target: "t", Destination: "t", KeyHash: &key, State: store.Waiting, Attempts: 1}
	two := store.Delivery{Seq: 2, Slot: slot, Target: "t", Destination: "t", KeyHash: &key, State: store.Held}
	_, err = heir.Settle(ctx, store.Settlement{Group: "g", Epochs: epochs, Passed: []store.Ref{{Slot: slot, Seq: 1}}, New: []store.Delivery{one}})
	require.NoError(t, err)

	reached, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hook.Before(func(_ context.Context, query string) error {
		if query == "commit" {
			once.Do(func() { close(reached); <-resume })
		}
		return nil
	})
	done := make(chan error, 2)
	go func() {
		_, err := former.Settle(ctx, store.Settlement{Group: "g", Ended: []store.Delivery{one}, Freed: []store.HeldKey{{Slot: slot, Target: "t", KeyHash: key}}})
		done <- err
	}()
	<-reached
	go func() {
		_, err := heir.Settle(ctx, store.Settlement{Group: "g", Epochs: epochs, Passed: []store.Ref{{Slot: slot, Seq: 2}}, New: []store.Delivery{two}})
		done <- err
	}()
	select { // it must wait for the other, or not see what that one deletes
	case err := <-done:
		require.NoError(t, err)
		done <- nil
	case <-time.After(300 * time.Millisecond):
	}
	close(resume)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	var state string
	require.NoError(t, db.QueryRowContext(ctx, "SELECT state FROM outbox_deliveries WHERE seq = 2").Scan(&state))
	require.Equal(t, "waiting", state, "nothing is before it that could release it")
}
