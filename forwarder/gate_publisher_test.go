package forwarder

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

// gateOf returns the gate of a publisher named kafka, and what it is told of breakers that changed.
func gateOf(t *testing.T, failures int, probe time.Duration) (*publisherGate, chan *breaker) {
	t.Helper()
	pubs, err := newPublishers(map[string]message.Publisher{"kafka": nowhere{}}, "")
	require.NoError(t, err)
	changed := make(chan *breaker, 10_000)
	newGates(failures, probe, pubs, func(b *breaker) { changed <- b })
	return pubs.byName["kafka"].gate, changed
}

// send passes through the gate with an outcome, and returns whose fault it was; ok is false when the gate is closed.
func send(p *publisherGate, topic string, err error) (f fault.Fault, ok bool) {
	pass, ok := p.enter(topic)
	if !ok {
		return f, false
	}
	return pass.done(err), true
}

var errTopic = fault.Unavailable(errors.New("no leader"), true, false)

func TestGateRemembersNoTopicThatIsWell(t *testing.T) {
	t.Parallel()
	p, _ := gateOf(t, 5, time.Hour)
	for i := range 10_000 {
		_, ok := send(p, fmt.Sprint("kafka://t", i), nil)
		require.True(t, ok)
	}
	require.Empty(t, p.topics)
	for i := range 10_000 { // each fails a few times, and gets through
		for range 4 {
			_, ok := send(p, fmt.Sprint("kafka://t", i), errTopic)
			require.True(t, ok)
		}
		_, ok := send(p, fmt.Sprint("kafka://t", i), nil)
		require.True(t, ok)
		require.Empty(t, p.topics)
	}
}

func TestGateRemembersFewTopicsThatFail(t *testing.T) {
	t.Parallel()
	p, changed := gateOf(t, 1, time.Hour)
	for i := range 10_000 {
		_, ok := send(p, fmt.Sprint("kafka://t", i), errTopic)
		require.True(t, ok)
	}
	require.Len(t, p.topics, maxTopicBreakers)
	require.Len(t, p.probes(time.Now()), probesAtOnce)
	for range maxTopicBreakers {
		require.True(t, (<-changed).tripped())
	}
	later := time.Now().Add(topicIdle + 3*time.Hour)
	require.Empty(t, p.probes(later))
	require.Empty(t, p.topics, "nothing came of them for long")
	require.Zero(t, p.failing.Load())
	for range maxTopicBreakers {
		b := <-changed
		require.True(t, b.forgotten.Load())
		require.False(t, p.tripped(b.scope))
	}
}

// Every topic is probed in its turn.
func TestGateProbesAllTopics(t *testing.T) {
	t.Parallel()
	p, _ := gateOf(t, 1, time.Hour)
	seen := map[string]bool{}
	for i := range 3 * probesAtOnce {
		send(p, fmt.Sprint("kafka://t", i), errTopic)
	}
	for i := range 3 {
		for _, name := range p.probes(time.Now().Add(time.Duration(i) * time.Second)) {
			seen[name] = true
		}
	}
	require.Len(t, seen, 3*probesAtOnce)
}

func TestGateBlamesThePublisherFirst(t *testing.T) {
	t.Parallel()
	down := fault.Unavailable(errors.New("down"), false, false)
	for name, test := range map[string]struct {
		topics []string
		errs   []error // in turn
		whole  bool
		topic  bool // the first
	}{
		"one topic, down":           {[]string{"a"}, []error{down}, true, false},
		"many topics, down":         {[]string{"a", "b", "c", "d", "e", "f"}, []error{down}, true, false},
		"time-outs":                 {[]string{"a", "b"}, []error{context.DeadlineExceeded}, true, false},
		"one topic hangs":           {[]string{"a", "b"}, []error{context.DeadlineExceeded, nil}, false, true},
		"one topic's broker":        {[]string{"a", "b"}, []error{down, nil}, false, true},
		"a topic is refused":        {[]string{"a"}, []error{errTopic}, false, true},
		"the message is at fault":   {[]string{"a"}, []error{errors.New("too large")}, false, false},
		"cancelled":                 {[]string{"a"}, []error{context.Canceled}, false, false},
		"down and cancelled":        {[]string{"a"}, []error{down, context.Canceled}, true, false},
		"down and through in turns": {[]string{"a"}, []error{down, nil}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := gateOf(t, 3, time.Hour)
			for i := range 6 {
				send(p, "kafka://"+test.topics[i%len(test.topics)], test.errs[i%len(test.errs)])
			}
			require.Equal(t, test.whole, p.whole.tripped())
			require.Equal(t, test.whole || test.topic, p.tripped("kafka://a"))
			require.Equal(t, test.whole, p.tripped("kafka://other"))
			if b := p.topics["kafka://a"]; test.whole && b != nil {
				require.False(t, b.tripped(), "one breaker is enough")
			}
		})
	}
}

// What was sent before the breaker opened says nothing of what came after.
func TestGateForgetsWhatWasSentBeforeItOpened(t *testing.T) {
	t.Parallel()
	p, changed := gateOf(t, 2, time.Nanosecond)
	down := fault.Unavailable(errors.New("down"), false, false)
	var early []pass
	for range 10 {
		pass, ok := p.enter("kafka://a")
		require.True(t, ok)
		early = append(early, pass)
	}
	for i := range 2 {
		early[i].done(down)
	}
	require.True(t, (<-changed).tripped())
	await.That(t, func() bool { _, ok := send(p, "kafka://a", nil); return ok }) // a probe
	require.False(t, p.whole.tripped())
	for i := 2; i < 10; i++ {
		early[i].done(down)
	}
	require.False(t, p.whole.tripped(), "it is well now")
}
