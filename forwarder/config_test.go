package forwarder_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A forwarder that closes sooner than a publish ends would hand slots over under it.
func TestCloseTimeoutIsNotLessThanPublishTimeout(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		create := func(cfg forwarder.SubscriberConfig) error {
			_, err := forwarder.New(db, map[string]message.Publisher{"sink": newRecorder()}, forwarder.Config{Subscriber: cfg}, logger(t))
			return err
		}
		require.EqualError(t, create(forwarder.SubscriberConfig{CloseTimeout: 5 * time.Second}),
			"outbox forwarder: CloseTimeout is 5s, must not be less than PublishTimeout 10s: Close would hand over what is still being published")
		require.Error(t, create(forwarder.SubscriberConfig{CloseTimeout: 20 * time.Second, PublishTimeout: 25 * time.Second, Lease: time.Minute}))
		require.NoError(t, create(forwarder.SubscriberConfig{CloseTimeout: 5 * time.Second, PublishTimeout: 5 * time.Second}))
		require.NoError(t, create(forwarder.SubscriberConfig{PublishTimeout: 25 * time.Second, Lease: time.Minute}), "its default follows")
	})
}
