package adapterstest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Refusal is a state in which a broker refuses every message, or every one to a topic: whatever may end without a change of the messages.
type Refusal struct {
	Name string
	// Begin puts the broker into the state, for topic where TopicOnly is set, and End ends it.
	Begin, End func(t *testing.T, topic string)
	// TopicOnly says that other topics of the broker are well, and that the adapter must say so.
	TopicOnly bool
	// Says is a part of the error that names the cause, where the broker gets round to say it.
	Says string
	// Open opens the publisher, where that of the Harness will not do.
	Open func(t *testing.T) message.Publisher
}

// Refusals runs only the part of [Run] that is about h.Refusals, for a broker that one test puts into states which others must not see.
func Refusals(t *testing.T, h Harness) {
	t.Helper()
	h.refusals(t)
}

// refusals has a forwarder deliver while the broker is in each of the states. An attempt that counted would kill an event.
func (h Harness) refusals(t *testing.T) {
	if len(h.Refusals) == 0 || h.Database == nil {
		t.Skip("this harness has no state in which its broker refuses everything, or no database to forward from")
	}
	for _, r := range h.Refusals {
		t.Run(r.Name, func(t *testing.T) { h.refusal(t, r) })
	}
}

func (h Harness) refusal(t *testing.T, r Refusal) {
	const keys, each = 3, 10
	refused, fine := topicOf(t), topicOf(t)
	for fine[len(fine)-1] == refused[len(refused)-1] { // some brokers allow topics by patterns, which tell them apart by their last character
		fine = topicOf(t)
	}
	pub := h.open(t)
	for _, topic := range []string{refused, fine} {
		require.NoError(t, pub.Publish(topic, message.NewMessage("before", nil)))
	}
	if r.Open != nil {
		pub = r.Open(t)
		t.Cleanup(func() { assert.NoError(t, pub.Close()) })
		require.NoError(t, pub.Publish(refused, message.NewMessage("before", nil)))
	}
	r.Begin(t, refused)
	ended := false
	end := func() {
		if !ended {
			ended = true
			r.End(t, refused)
		}
	}
	defer end()

	want := adapters.BlamePublisher
	if r.TopicOnly {
		want = adapters.BlameTopic
		require.NoError(t, pub.Publish(fine, message.NewMessage("another topic", nil)))
	}
	var err error
	await.That(t, func() bool { // some states take a moment to be seen everywhere
		err = pub.Publish(refused, message.NewMessage("refused", nil))
		return err != nil && strings.Contains(err.Error(), r.Says)
	}, "the publisher says %s", r.Says)
	require.Equal(t, want, adapters.Blame(err), "%v", err)

	db := h.Database(t)
	stop := forward(t, db, pub)
	for i := range each {
		for k := range keys {
			insert(t, db, refused, fmt.Sprint(k), fmt.Sprint(i))
		}
		if r.TopicOnly {
			insert(t, db, fine, "a", fmt.Sprint(i))
		}
	}
	await.That(t, func() bool { return number(t, db, `state = 'held' AND attempts = 0`) == keys*each },
		"everything is held, without an attempt")
	if r.TopicOnly {
		h.wait(t, fine, 2+each)
	}
	assert.Zero(t, number(t, db, `attempts > 0 OR state = 'dead'`))
	end()
	await.That(t, func() bool { return number(t, db, `true`) == 0 }, "it goes on when the state ends")
	stop()
	next := map[string]int{}
	for _, got := range h.Received(t, refused) {
		if key := got.Metadata[outbox.KeyAggregateID]; key != "" {
			assert.Equal(t, fmt.Sprint(next[key]), string(got.Payload), "order of key %s", key)
			next[key]++
		}
	}
	for k := range keys {
		assert.Equal(t, each, next[fmt.Sprint(k)], "key %d", k)
	}
}

// forward runs a forwarder to pub whose policy gives up at the first failure, until stop is called.
func forward(t *testing.T, db *sql.DB, pub message.Publisher) (stop func()) {
	t.Helper()
	table, err := router.NewTable(router.Config{Policies: map[string]middleware.RetryPolicy{"default": {MaxAttempts: 1, Multiplier: 1}}})
	require.NoError(t, err)
	f, err := forwarder.New(db, map[string]message.Publisher{"broker": pub},
		forwarder.Config{Routes: table, BreakerProbe: 50 * time.Millisecond}, watermill.NopLogger{})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- f.Run(context.Background()) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			assert.NoError(t, f.Close())
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

func insert(t *testing.T, db *sql.DB, topic, key, payload string) {
	t.Helper()
	p, err := outbox.NewPublisher(db, outbox.Config{Dialect: schema.SQLite}, nil)
	require.NoError(t, err)
	msg := message.NewMessage(watermill.NewUUID(), []byte(payload))
	outbox.SetAggregate(msg, "test", key)
	require.NoError(t, p.Publish(topic, msg))
}

// number counts deliveries that are not finished; of those, and of events without any yet, when condition is true.
func number(t *testing.T, db *sql.DB, condition string) (n int) {
	t.Helper()
	query := `SELECT count(*) FROM outbox_deliveries WHERE ` + condition
	if condition == `true` {
		query = `SELECT (SELECT count(*) FROM outbox_deliveries) + (SELECT count(*) FROM outbox_pending)`
	}
	require.NoError(t, db.QueryRowContext(context.Background(), query).Scan(&n))
	return n
}
