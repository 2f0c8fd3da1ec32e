package http_test

import (
	"context"
	"fmt"
	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"
	"net/http"
	"net/http/httptest"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		msg, err := webhook.UnmarshalMessage("", r)
		fmt.Println(r.URL.Path, r.Header.Get("Idempotency-Key"), string(msg.Payload), msg.Metadata, err)
	}))
	defer server.Close()

	pub, err := adapters.Open(context.Background(), server.URL+"/hooks?timeout=2s", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pub.Close() }()

	msg := message.NewMessage("0b1e", []byte(`{"id":42}`))
	msg.Metadata.Set("correlation_id", "c-7")
	if err := pub.Publish("orders.created", msg); err != nil {
		fmt.Println(err)
	}
	// Output: /hooks/orders.created 0b1e {"id":42} map[correlation_id:c-7] <nil>
}
