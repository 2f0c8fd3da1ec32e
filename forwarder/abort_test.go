package forwarder

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
	cfg, err := SubscriberConfig{}.withDefaults()
	require.NoError(t, err)
	r := newReader(&Subscriber{cfg: cfg, logger: watermill.NopLogger{}, now: systemNow}, "default", store.Filter{}, false)
	r.lease = r.now().after(time.Hour)
	r.slots[3] = &slot{epoch: 7}
	u := &unit{event: store.Event{Slot: 3}, epoch: 7, reader: r}
	require.True(t, r.mayPublish(u, r.now()))
	r.giveOver()
	require.False(t, r.mayPublish(u, r.now()))
}
