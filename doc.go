// Package outbox publishes events inside the business transaction.
//
// [NewPublisher] makes a [message.Publisher] for a transaction: what it publishes is stored in the table of the outbox, and exists if the caller
// commits. A forwarder, see package forwarder, delivers it afterwards.
//
//	publisher, err := outbox.NewPublisher(tx, outbox.Config{}, logger)
//	...
//	msg := message.NewMessage(watermill.NewUUID(), payload)
//	outbox.SetAggregate(msg, "order", order.ID)
//	err = publisher.Publish("orders", msg)
//
// The Set functions give a message the attributes of an event before it is published: its tenant, its aggregate, whose events are delivered in order,
// and where it goes. A delivered message carries them in its metadata, beside the headers that the forwarder adds, and the functions without Set read
// them. All keys start with [MetadataPrefix], which is reserved.
//
// The tables are those of package schema. This package depends on neither the rules of routing nor any broker.
package outbox
