package console_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/console"
)

func Example() {
	pub, err := adapters.Open(context.Background(), "console://stdout", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pub.Close() }()

	created := message.NewMessage("0b1e", []byte(`{"id": 42, "total": 9.99}`))
	created.Metadata.Set("correlation_id", "c-7")
	if err := pub.Publish("orders.created", created, message.NewMessage("77aa", []byte{0xff, 0x00})); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"topic":"orders.created","uuid":"0b1e","metadata":{"correlation_id":"c-7"},"payload":{"id":42,"total":9.99}}
	// {"topic":"orders.created","uuid":"77aa","metadata":{},"payload_base64":"/wA="}
}

func Example_unknownScheme() {
	_, err := adapters.Open(context.Background(), "consle://stdout", nil)
	fmt.Println(err)
	// Output: unknown publisher scheme "consle" (registered: console): did you mean console?
}
