package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// printer is a destination: anything that implements message.Publisher is one.
type printer struct{}

func (printer) Publish(topic string, messages ...*message.Message) error {
	for _, msg := range messages {
		fmt.Println(topic, outbox.Topic(msg), string(msg.Payload))
	}
	return nil
}

func (printer) Close() error { return nil }

// A forwarder delivers what was published; Run does it until its context ends.
func ExampleForwarder_Drain() {
	ctx := context.Background()
	db, remove := published(ctx, "orders.placed", `{"id":17}`)
	defer remove()

	f, err := forwarder.New(db, map[string]message.Publisher{"printer": printer{}}, forwarder.Config{}, nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Drain(ctx); err != nil {
		panic(err)
	}
	// Output: orders.placed orders.placed {"id":17}
}

// A forwarder on the application's own Router is one handler among others.
func ExampleForwarder_AddTo() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, remove := published(ctx, "orders.placed", `{"id":17}`)
	defer remove()

	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		panic(err)
	}
	f, err := forwarder.New(db, map[string]message.Publisher{"printer": printer{}}, forwarder.Config{}, nil)
	if err != nil {
		panic(err)
	}
	f.AddTo(r).AddMiddleware(func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			defer cancel() // one event is enough here
			return next(msg)
		}
	})
	if err := r.Run(ctx); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
	// Output: orders.placed orders.placed {"id":17}
}

// published returns a database whose outbox has one event.
func published(ctx context.Context, topic, payload string) (db *sql.DB, remove func()) {
	db, remove = testdb.Example(ctx)
	publisher, err := outbox.NewPublisher(db, outbox.Config{}, nil)
	if err != nil {
		panic(err)
	}
	if err := publisher.Publish(topic, message.NewMessage("1", []byte(payload))); err != nil {
		panic(err)
	}
	return db, remove
}
