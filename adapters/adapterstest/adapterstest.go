// Package adapterstest checks that a publisher keeps what the forwarder relies on, whatever the broker:
//
//	func TestConformance(t *testing.T) {
//		broker := startBroker(t)
//		adapterstest.Run(t, adapterstest.Harness{
//			Open:     func(t *testing.T) message.Publisher { return open(t, broker.URL) },
//			Received: func(t *testing.T, topic string) []adapterstest.Record { return broker.read(t, topic) },
//		})
//	}
//
// Publish after Close must return [adapters.ErrClosed]. Messages of one Publish arrive in their order when they have the
// same key; the suite marks a key as the forwarder does, by the metadata outbox_key.
//
// The suite of Watermill itself (pubsub/tests) checks a publisher and subscriber together; this one needs no subscriber.
package adapterstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// Harness is one adapter and the broker that it is tested on. Open and Received are required; a test that needs a field
// that is nil is skipped and says so.
type Harness struct {
	// Open returns a new publisher on the broker, which the suite closes.
	Open func(t *testing.T) message.Publisher
	// Received returns what topic holds, in the order of arrival. It is polled.
	Received func(t *testing.T, topic string) []Record
	// RecordsKey says that Received fills in Record.Key.
	RecordsKey bool
	// Shared returns a publisher on a client of the caller, and a function that uses that client.
	Shared func(t *testing.T) (message.Publisher, func() error)
	// Down makes the broker unreachable and Up brings it back, on the same address.
	Down, Up func(t *testing.T)
	// Hang makes the broker take calls without answering, until resume is called.
	Hang func(t *testing.T) (resume func())
	// Refusals are the states in which the broker refuses everything. While one lasts, deliveries must be held without an
	// attempt, and go on when it ends.
	Refusals []Refusal
	// Database returns an empty SQLite database with the tables of an outbox, to test Refusals with a forwarder.
	Database func(t *testing.T) *sql.DB
	// ErrorWithin is how long a Publish may take to fail on a broker that is down or hangs. Defaults to 10 s, what the
	// forwarder's default lease leaves room for.
	ErrorWithin time.Duration
}

// Record is one message as the broker holds it.
type Record struct {
	UUID     string
	Payload  []byte
	Metadata message.Metadata
	Key      []byte // nil when the message has none
}

// keyOrdering is the metadata key that the forwarder puts the ordering key in.
const keyOrdering = "outbox_key"

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.ErrorWithin == 0 {
		h.ErrorWithin = 10 * time.Second
	}
	t.Run("payloads", h.payloads)
	t.Run("metadata", h.metadata)
	t.Run("struct literal message", h.structLiteral)
	t.Run("ordering key", h.key)
	t.Run("order in one call", h.order)
	t.Run("no messages", h.none)
	t.Run("concurrent calls", h.concurrent)
	t.Run("cancelled context", h.cancelled)
	t.Run("broker hangs", h.hang)
	t.Run("broker down and back", h.outage)
	t.Run("refusals", h.refusals)
	t.Run("close", h.close)
	t.Run("close during publish", h.closeDuring)
	t.Run("close waits", h.closeWaits)
	t.Run("shared client", h.shared)
}

func (h Harness) open(t *testing.T) message.Publisher {
	t.Helper()
	pub := h.Open(t)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	return pub
}

func topicOf(t *testing.T) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return '.'
	}, strings.ToLower(t.Name()))
	return name[max(0, len(name)-40):] + "." + watermill.NewShortUUID()
}

// wait returns the records of topic when there are n of them.
func (h Harness) wait(t *testing.T, topic string, n int) []Record {
	t.Helper()
	var got []Record
	await.That(t, func() bool { got = h.Received(t, topic); return len(got) >= n },
		"%d messages in %s", n, topic)
	require.Len(t, got, n)
	return got
}

func (h Harness) payloads(t *testing.T) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	large := make([]byte, 1_000_000)
	_, _ = rand.Read(large)
	cases := map[string][]byte{
		"json": []byte(`{"id":12345678901234567890,"name":"<ü>"}`), "binary": binary, "empty": {}, "nil": nil, "1 MB": large,
	}
	pub := h.open(t)
	for name, payload := range cases {
		t.Run(name, func(t *testing.T) {
			topic, id := topicOf(t), watermill.NewUUID()
			require.NoError(t, pub.Publish(topic, message.NewMessage(id, payload)))
			got := h.wait(t, topic, 1)[0]
			assert.Equal(t, id, got.UUID)
			assert.True(t, bytes.Equal(payload, got.Payload), "payload differs: %d bytes sent, %d arrived", len(payload), len(got.Payload))
		})
	}
}

func (h Harness) metadata(t *testing.T) {
	pub, topic := h.open(t), topicOf(t)
	msg := message.NewMessage(watermill.NewUUID(), []byte(`{}`))
	msg.Metadata = message.Metadata{
		"outbox_id": "table:1", "outbox_tenant_id": "tenant 1", "correlation_id": "c-1", "Mixed-Case": "x", "mixed_case": "y",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"with space":  "v", "ключ": "значение", "empty": "", "lines": "a\r\nb", "padded": "  a ", "percent": "100%25",
		"long": strings.Repeat("x", 2000),
	}
	want := msg.Copy().Metadata
	require.NoError(t, pub.Publish(topic, msg))
	assert.Equal(t, want, h.wait(t, topic, 1)[0].Metadata)
	assert.Equal(t, want, msg.Metadata, "Publish must not change the message")
}

func (h Harness) structLiteral(t *testing.T) {
	pub, topic := h.open(t), topicOf(t)
	require.NoError(t, pub.Publish(topic, &message.Message{Payload: []byte("x")}, &message.Message{UUID: "u"}))
	got := h.wait(t, topic, 2)
	if got[0].UUID != "" { // without a key they have no order
		got[0], got[1] = got[1], got[0]
	}
	assert.Equal(t, "x", string(got[0].Payload))
	assert.Empty(t, got[0].UUID)
	assert.Empty(t, got[0].Metadata)
	assert.Equal(t, "u", got[1].UUID)
}

func (h Harness) key(t *testing.T) {
	if !h.RecordsKey {
		t.Skip("this broker has no key beside the metadata")
	}
	pub, keyed, keyless := h.open(t), topicOf(t), topicOf(t)
	msg := message.NewMessage(watermill.NewUUID(), nil)
	msg.Metadata.Set(keyOrdering, "order-1")
	require.NoError(t, pub.Publish(keyed, msg))
	require.NoError(t, pub.Publish(keyless, message.NewMessage(watermill.NewUUID(), nil)))

	assert.Equal(t, "order-1", string(h.wait(t, keyed, 1)[0].Key))
	assert.Nil(t, h.wait(t, keyless, 1)[0].Key, "an empty key would put all keyless messages into one partition")
}

func (h Harness) order(t *testing.T) {
	pub, topic := h.open(t), topicOf(t)
	msgs := make([]*message.Message, 200)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), []byte{byte(i)})
		msgs[i].Metadata.Set(keyOrdering, "one")
	}
	require.NoError(t, pub.Publish(topic, msgs...))
	for i, got := range h.wait(t, topic, len(msgs)) {
		require.Equal(t, fmt.Sprint(i), got.UUID)
	}
}

func (h Harness) none(t *testing.T) {
	assert.NoError(t, h.open(t).Publish(topicOf(t)))
}

func (h Harness) concurrent(t *testing.T) {
	const callers, each = 64, 10
	pub, topic := h.open(t), topicOf(t)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				msg := message.NewMessage(fmt.Sprintf("%d/%d", c, i), []byte("x"))
				msg.Metadata.Set(keyOrdering, fmt.Sprint(c))
				assert.NoError(t, pub.Publish(topic, msg))
			}
		})
	}
	wg.Wait()
	next := make([]int, callers)
	for _, got := range h.wait(t, topic, callers*each) {
		var c, i int
		_, err := fmt.Sscanf(got.UUID, "%d/%d", &c, &i)
		require.NoError(t, err)
		require.Equal(t, next[c], i, "messages of one caller and key keep their order")
		next[c]++
	}
}

func (h Harness) cancelled(t *testing.T) {
	pub, topic := h.open(t), topicOf(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	msg := message.NewMessage("cancelled", nil)
	msg.SetContext(ctx)

	start := time.Now()
	err := pub.Publish(topic, msg)
	assert.Less(t, time.Since(start), 2*time.Second)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, adapters.BlameUnknown, adapters.Blame(err))

	require.NoError(t, pub.Publish(topic, message.NewMessage("next", nil)))
	assert.Equal(t, "next", h.wait(t, topic, 1)[0].UUID)
}

func (h Harness) hang(t *testing.T) {
	if h.Hang == nil {
		t.Skip("this harness cannot make its broker hang")
	}
	pub, topic := h.open(t), topicOf(t)
	require.NoError(t, pub.Publish(topic, message.NewMessage("before", nil)))
	resume := h.Hang(t)
	defer resume()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	msg := message.NewMessage("bounded by its context", nil)
	msg.SetContext(ctx)
	start := time.Now()
	err := pub.Publish(topic, msg)
	assert.Less(t, time.Since(start), 2*time.Second)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, adapters.BlameSilence, adapters.Blame(err))

	start = time.Now()
	err = pub.Publish(topic, message.NewMessage("bounded by the adapter", nil))
	assert.LessOrEqual(t, time.Since(start), h.ErrorWithin+time.Second)
	require.Error(t, err)
	assert.Equal(t, adapters.BlameSilence, adapters.Blame(err), "%v", err)
}

func (h Harness) outage(t *testing.T) {
	if h.Down == nil || h.Up == nil {
		t.Skip("this harness cannot stop and start its broker")
	}
	pub, topic := h.open(t), topicOf(t)
	require.NoError(t, pub.Publish(topic, message.NewMessage("before", nil)))

	h.Down(t)
	fails := func(pub message.Publisher) {
		start := time.Now()
		err := pub.Publish(topic, message.NewMessage("lost", nil))
		assert.LessOrEqual(t, time.Since(start), h.ErrorWithin+time.Second)
		require.Error(t, err)
		assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "a broker that is down comes back: %v", err)
	}
	fails(pub)
	late := h.open(t) // opening needs no living broker
	fails(late)

	h.Up(t)
	for _, p := range []message.Publisher{pub, late} {
		await.That(t, func() bool { return p.Publish(topic, message.NewMessage("after", nil)) == nil }, "the same publisher works again")
	}
}

func (h Harness) close(t *testing.T) {
	pub := h.Open(t)
	topic := topicOf(t)
	require.NoError(t, pub.Publish(topic, message.NewMessage("1", nil)))
	require.NoError(t, pub.Close())
	require.NoError(t, pub.Close(), "Close may be called again")
	require.ErrorIs(t, pub.Publish(topic, message.NewMessage("2", nil)), adapters.ErrClosed)
	h.wait(t, topic, 1)

	require.NoError(t, h.Open(t).Close(), "a publisher that was never used")
}

func (h Harness) closeDuring(t *testing.T) {
	pub, topic := h.Open(t), topicOf(t)
	require.NoError(t, pub.Publish(topic, message.NewMessage("first", nil)))
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := 1
	for range 32 {
		wg.Go(func() {
			x := message.NewMessage("x", nil)
			err := pub.Publish(topic, x, x.Copy(), x.Copy())
			if err != nil {
				assert.ErrorIs(t, err, adapters.ErrClosed, "Close waits for the calls that are under way")
				return
			}
			mu.Lock()
			acknowledged += 3
			mu.Unlock()
		})
	}
	wg.Go(func() { assert.NoError(t, pub.Close()) })
	wg.Go(func() { assert.NoError(t, pub.Close()) })
	wg.Wait()
	await.That(t, func() bool { return len(h.Received(t, topic)) >= acknowledged },
		"what Publish acknowledged is not lost by Close")
}

func (h Harness) closeWaits(t *testing.T) {
	if h.Hang == nil {
		t.Skip("this harness cannot make its broker hang")
	}
	pub, topic := h.Open(t), topicOf(t)
	require.NoError(t, pub.Publish(topic, message.NewMessage("first", nil)))
	resume := h.Hang(t)
	defer resume()
	brief := func() error { // a call that ends while the broker hangs
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		msg := message.NewMessage("brief", nil)
		msg.SetContext(ctx)
		return pub.Publish(topic, msg)
	}
	published, closed := make(chan error, 1), make(chan error, 1)
	go func() { published <- pub.Publish(topic, message.NewMessage("1", nil), message.NewMessage("2", nil)) }()
	require.Error(t, brief())
	go func() { closed <- pub.Close() }()
	await.That(t, func() bool { return errors.Is(brief(), adapters.ErrClosed) })
	resume()
	err := <-published
	require.NoError(t, <-closed)
	if err == nil {
		return
	}
	// Close came first: fine when nothing of the call was sent.
	assert.ErrorIs(t, err, adapters.ErrClosed)
	for _, r := range h.Received(t, topic) {
		assert.NotEqual(t, "1", r.UUID, "a call that is under way ends as if Close had not been called")
	}
}

func (h Harness) shared(t *testing.T) {
	if h.Shared == nil {
		t.Skip("this adapter takes no client of the caller")
	}
	pub, use := h.Shared(t)
	require.NoError(t, pub.Publish(topicOf(t), message.NewMessage("1", nil)))
	require.NoError(t, pub.Close())
	require.ErrorIs(t, pub.Publish(topicOf(t), message.NewMessage("2", nil)), adapters.ErrClosed)
	assert.NoError(t, use(), "Close must leave a client that it was given alone")
}
