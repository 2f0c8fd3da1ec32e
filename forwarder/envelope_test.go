package forwarder_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// What came out of one outbox goes into another: its attributes go on, the headers of its first delivery do not.
func TestDeliveredMessageIsPublishedAgain(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		first := keyed("17", `{"n":1}`)
		first.Metadata.Set("own", "goes on")
		outbox.SetTenant(first, "acme")
		outbox.SetSchema(first, "order", "2")
		outbox.SetOccurredAt(first, time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC))
		publish(t, db, "orders", first)
		rec := newRecorder()
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"sink": rec})
		require.Len(t, rec.got["orders"], 1)

		received := rec.got["orders"][0].Copy()
		received.Metadata.Set("outbox_of_a_later_version", "x")
		before := received.Copy()
		publish(t, db, "shipments", received)
		require.True(t, before.Equals(received), "the caller's message stays as it was")
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"sink": rec})
		require.Len(t, rec.got["shipments"], 1)
		second := rec.got["shipments"][0]
		require.Equal(t, "shipments", outbox.Topic(second))
		require.NotEqual(t, outbox.ID(received), outbox.ID(second))
		require.EqualValues(t, 2, outbox.Seq(second))
		require.NotContains(t, second.Metadata, "outbox_of_a_later_version")
		for _, key := range []string{
			"own", outbox.KeyTenantID, outbox.KeyAggregateType, outbox.KeyAggregateID, outbox.KeySchemaID, outbox.KeySchemaVersion, outbox.KeyOccurredAt,
		} {
			require.NotEmpty(t, second.Metadata[key], key)
			require.Equal(t, received.Metadata[key], second.Metadata[key], key)
		}

		outbox.StripHeaders(received)
		require.Equal(t, message.Metadata{"own": "goes on"}, received.Metadata)
	})
}

// A handler that reads from an outbox has another outbox as its poison queue.
func TestPoisonQueueIsAnOutbox(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		pub, err := outbox.NewPublisher(db, outbox.Config{Dialect: dialect(db)}, nil)
		require.NoError(t, err)
		poison, err := middleware.PoisonQueue(pub, "poison")
		require.NoError(t, err)
		sub, err := forwarder.NewSubscriber(db, forwarder.SubscriberConfig{}, nil)
		require.NoError(t, err)
		r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		require.NoError(t, err)
		r.AddMiddleware(poison)
		r.AddConsumerHandler("orders", "orders", sub, func(*message.Message) error { return errors.New("hopeless") })
		done := make(chan error, 1)
		go func() { done <- r.Run(context.Background()) }()
		publish(t, db, "orders", keyed("17", `{"n":1}`))
		await.That(t, func() bool { return statuses(t, db)["SENT"] == 1 }) // acknowledged, and written down
		require.NoError(t, r.Close())
		require.NoError(t, <-done)
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM outbox WHERE topic = 'poison' AND aggregate_id = '17'`), "once")
		require.Equal(t, map[string]int{"SENT": 1, "NEW": 1}, statuses(t, db))
	})
}

// The publisher of Watermill's own forwarder was left around ours.
func TestEnvelopeOfTheStockForwarderIsTakenOff(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		pub, err := outbox.NewPublisher(db, outbox.Config{Dialect: dialect(db)}, nil)
		require.NoError(t, err)
		decorated := stock.NewPublisher(pub, stock.PublisherConfig{ForwarderTopic: "events_to_forward"})
		m := keyed("17", "\x00\xff")
		m.Metadata.Set("own", "value")
		plain := message.NewMessage("2", nil)
		require.NoError(t, decorated.Publish("orders", m, plain))
		rec := newRecorder()
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"sink": rec})
		require.Empty(t, rec.got["events_to_forward"])
		require.Len(t, rec.got["orders"], 2)
		for _, got := range rec.got["orders"] {
			require.Equal(t, "orders", outbox.Topic(got))
			if got.UUID == "2" {
				require.Empty(t, got.Payload)
				continue
			}
			require.Equal(t, m.UUID, got.UUID)
			require.Equal(t, "\x00\xff", string(got.Payload))
			require.Equal(t, "value", got.Metadata["own"])
			_, id := outbox.Aggregate(got)
			require.Equal(t, "17", id)
		}

		bad := message.NewMessage("3", nil)
		bad.Metadata.Set("outbox_tennant", "acme")
		var refused *outbox.MessageError
		require.ErrorAs(t, decorated.Publish("orders", bad), &refused)
		require.Equal(t, "orders", refused.Topic)

		// What only looks like one is an event like any other.
		for _, payload := range []string{
			`{"destination_topic":"x"}`, `{"destination_topic":"x","uuid":"1"}`, `{"destination_topic":"x","uuid":"1","payload":"","metadata":{},"more":1}`,
			`{"destination_topic":"x","uuid":"1","payload":"!","metadata":{}}`, `{"destination_topic":"`,
		} {
			require.NoError(t, pub.Publish("looks", message.NewMessage("1", []byte(payload))))
		}
		own := message.NewMessage("1", []byte(`{"destination_topic":"x","uuid":"1","payload":"","metadata":{}}`))
		own.Metadata.Set("k", "v")
		require.NoError(t, pub.Publish("looks", own))
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"sink": rec})
		require.Len(t, rec.got["looks"], 6)
	})
}
