package engine

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Between the end of CloseTimeout and the handing over of the slots, which may take as long as a slow database, nothing is published any more.
func TestNothingIsPublishedAfterCloseTimeout(t *testing.T) {
	t.Parallel()
	e := New(nil, Config{PublishTimeout: time.Second, Now: Now}, nil, nil, watermill.NopLogger{})
	e.leases.until = Now().after(time.Hour)
	e.lanes.slots[3] = &slot{epoch: 7}
	u := &Unit{Event: store.Event{Slot: 3}, Epoch: 7}
	require.True(t, e.mayPublish(u, Now()))
	e.Abort()
	require.False(t, e.mayPublish(u, Now()))
}
