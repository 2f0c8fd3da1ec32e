package main

import (
	"io"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
)

// act may do something else with a message than to publish it, and says whether it has.
type act = func(pub message.Publisher, topic string, msg *message.Message) (acted bool, err error)

// saboteur is a publisher that asks act what to do with the messages of one topic.
type saboteur struct {
	message.Publisher
	topic string
	act   act

	mu sync.Mutex
}

func (s *saboteur) Publish(topic string, msgs ...*message.Message) error {
	if topic != s.topic {
		return s.Publisher.Publish(topic, msgs...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, msg := range msgs {
		acted, err := s.act(s.Publisher, topic, msg)
		if !acted && err == nil {
			err = s.Publisher.Publish(topic, msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// once is publish instead of publishing, for the first message for which it does not fail.
func once(publish func(pub message.Publisher, topic string, msg *message.Message) error) act {
	done := false
	return func(pub message.Publisher, topic string, msg *message.Message) (bool, error) {
		if done {
			return false, nil
		}
		err := publish(pub, topic, msg)
		done = err == nil
		return true, err
	}
}

func lose(message.Publisher, string, *message.Message) error { return nil }

func repeat(pub message.Publisher, topic string, msg *message.Message) error {
	if err := pub.Publish(topic, msg); err != nil {
		return err
	}
	return pub.Publish(topic, msg)
}

func change(pub message.Publisher, topic string, msg *message.Message) error {
	changed := msg.Copy()
	changed.Payload = append([]byte(" "), msg.Payload...)
	return pub.Publish(topic, changed)
}

// overtake keeps the first message until another one of its key was published.
func overtake() act {
	var late *message.Message
	done := false
	return func(pub message.Publisher, topic string, msg *message.Message) (bool, error) {
		switch {
		case done:
			return false, nil
		case late == nil:
			late = msg.Copy()
			return true, nil
		case msg.Metadata[outbox.KeyOrdering] != late.Metadata[outbox.KeyOrdering]:
			return false, nil
		}
		if err := pub.Publish(topic, msg); err != nil {
			return true, err
		}
		done = true
		return true, pub.Publish(topic, late)
	}
}

func TestSabotageIsNoticed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		publisher, topic string
		act              act
		want             report
	}{
		"message lost":          {"webhook", "courier", once(lose), report{Lost: 1}},
		"copy of dead one lost": {"kafka", "poison", once(lose), report{Lost: 1}},
		"delayed one lost":      {"redis", "reviews", once(lose), report{Lost: 1}},
		"message sent twice":    {"redis", "vip.notifications", once(repeat), report{Duplicated: 1}},
		"message changed":       {"redis", "vip.notifications", once(change), report{Lost: 1, Duplicated: 1}},
		"VIP's overtaken":       {"redis", "vip.notifications", overtake(), report{OutOfOrder: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options{orders: smallOrders, sabotage: func(publishers map[string]message.Publisher) {
				publishers[c.publisher] = &saboteur{Publisher: publishers[c.publisher], topic: c.topic, act: c.act}
			}}
			r, err := demo(t.Context(), opts, io.Discard)
			require.NoError(t, err)
			require.Equal(t, []int{c.want.Lost, c.want.Duplicated, c.want.OutOfOrder}, []int{r.Lost, r.Duplicated, r.OutOfOrder})
			require.Equal(t, 1, exitStatus(r))
		})
	}
}
