package main

import (
	"encoding/json"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
)

// eventsPerOrder is how many events each order has.
const eventsPerOrder = 4

// topicMessage is a message and the topic that it is published to.
type topicMessage struct {
	topic string
	*message.Message
}

// newEvents returns what the world should know about o. Which destinations hear of it is not the shop's business, except
// that the event about the product says so itself.
func newEvents(o order, routing []byte, poisoned bool) []topicMessage {
	product := newEvent(o)
	outbox.SetRoutingConfig(product, routing, "")
	courier := newEvent(o)
	if poisoned {
		courier.Payload = []byte("Express, please!") // no JSON, so nobody can tell whether the courier wants it
	}
	return []topicMessage{
		{"orders.placed", newEvent(o)},
		{"products.sold", product},
		{"courier", courier},
		{"audit", newEvent(o)},
	}
}

// newEvent returns a message about o. Its aggregate, the customer, is what events are kept in order by.
func newEvent(o order) *message.Message {
	payload, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	msg := message.NewMessage(watermill.NewUUID(), payload)
	outbox.SetAggregate(msg, "customer", o.Customer)
	return msg
}
