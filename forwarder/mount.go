package forwarder

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// mount is a forwarder's subscriber as one Router sees it: Close ends what that Router subscribed to, and leaves the forwarder usable.
type mount struct {
	sub   *Subscriber
	alone bool

	mu      sync.Mutex
	closed  bool
	joined  *reader // that Subscribe is to return
	readers []*reader
}

var _ message.Subscriber = (*mount)(nil)

// join starts the reader that Subscribe returns, so that a Router is made only for one that could start: a Router that cannot subscribe leaves
// goroutines behind.
func (m *mount) join(ctx context.Context) error {
	r, err := m.sub.subscribe(ctx, AllTopics, m.alone)
	if err != nil {
		return err
	}
	m.joined, m.readers = r, []*reader{r}
	return nil
}

func (m *mount) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrSubscriberClosed
	}
	if m.joined != nil {
		return m.joined.out, nil
	}
	r, err := m.sub.subscribe(ctx, topic, m.alone)
	if err != nil {
		return nil, err
	}
	m.readers = append(m.readers, r)
	return r.out, nil
}

// Close stops reading for the Router, as [Subscriber.Close] does.
func (m *mount) Close() error {
	m.mu.Lock()
	m.closed = true
	readers := m.readers
	m.mu.Unlock()
	return closeReaders(readers)
}

// String is the name that Watermill gives the subscriber in the contexts of messages.
func (m *mount) String() string { return "forwarder.Subscriber" }
