package redis_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters/redis"
)

// A publisher on a client that the application has anyway, such as one of a cluster. Close leaves that client alone.
func ExampleNewPublisher() {
	server, err := miniredis.Run()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()

	pub, err := redis.NewPublisher(client, redis.Config{MaxLen: 1_000_000}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pub.Publish("orders.created", message.NewMessage("0b1e", []byte(`{"id":42}`))))
	fmt.Println(pub.Close())
	fmt.Println(client.XLen(context.Background(), "orders.created").Val())
	// Output:
	// <nil>
	// <nil>
	// 1
}
