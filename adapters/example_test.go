package adapters_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

var errFull = errors.New("the queue is full")

// queue is a broker of the application's own, which takes nothing now.
type queue struct{}

func (queue) Publish(topic string, messages ...*message.Message) error {
	if len(messages[0].Payload) > 1<<20 {
		return adapters.Permanent(errors.New("the payload has more than 1 MiB")) // the message's fault: dead at once
	}
	return adapters.Unavailable(errFull) // the broker's state: held, without using an attempt
}

func (queue) Close() error { return nil }

// An adapter registers the scheme of its URLs and says of each error whose fault it is.
func ExampleRegister() {
	adapters.Register("queue", func(_ context.Context, u *url.URL, _ watermill.LoggerAdapter) (message.Publisher, error) {
		options := adapters.NewOptions(u)
		return queue{}, options.Err()
	})

	pub, err := adapters.Open(context.Background(), "queue://broker:1234", nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = pub.Close() }()
	err = pub.Publish("orders", message.NewMessage("1", []byte(`{}`)))
	fmt.Println(err, adapters.Blame(err) == adapters.BlamePublisher)
	// Output: the queue is full true
}
