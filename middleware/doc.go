// Package middleware provides Watermill middlewares for what happens around one delivery. Each constructor returns a
// message.HandlerMiddleware for any Watermill Router and any Pub/Sub:
//
//   - [Match] passes on messages that meet conditions, [Sample] a share of them
//   - [Delay] passes them on later, [Transform] with another payload
//   - [Retry] calls a failed handler again, [PoisonQueue] moves what is not retried to another topic
//   - [Trace] makes a span for each message
//
// Under the forwarder of this module they record their outcome on the delivery, so that waits and retries are durable and hold no
// goroutine. With any other subscriber, skipped messages are acknowledged and waits happen in place. The targets of package router
// apply the same conditions, samples and transforms.
//
// # Conditions
//
// Conditions follow the query language of MongoDB's server, up to version 8. Their authors need not be trusted: [Limits] bound the conditions and
// their cost on one payload. Of duplicate keys in a payload the first counts. Payloads are never part of an error. The differences from MongoDB:
//
//   - $mod, $type, $expr, $where, $jsonSchema, $text, geospatial and bit operators do not exist.
//   - $regex is RE2: no look-around, no back-references, no option x; $ matches at the end of the text, not before a last newline.
//   - $exists needs a boolean. An object cannot mix operators and fields.
//   - Numbers compare as the decimals they spell, whatever their length.
//   - A backslash makes a dot part of a name. Everything after metadata. is one key.
//   - occurred_at compares as a time with RFC 3339 text or a date; schema_version compares with text, and with numbers as a number. An empty
//     attribute is missing.
package middleware
