// Package middleware is what happens around one delivery: one idea a file, each a constructor that returns a
// message.HandlerMiddleware for any Watermill Router.
//
//   - [Match] hands on what meets conditions, [Sample] a share of it
//   - [Delay] hands on later, [Transform] with another payload
//   - [Retry] tries again, [PoisonQueue] puts aside what nobody tries again
//   - [Trace] makes a span of what is handled
//
// Under the forwarder of this project they record their outcome on the delivery, so that waits and retries are durable and hold no
// goroutine. With any other subscriber they do what a Watermill user expects: what is filtered out is acknowledged, waits happen in
// place. Package router compiles the same parts, [NewMatcher], [NewSampler] and [NewTransformer], into the plans of the forwarder.
//
// Conditions follow MongoDB's query language as its server, up to version 8, and their authors need not be trusted: [Limits] bound them, patterns are RE2, and what
// they may cost on one payload is bounded too. Folder mongotest compares them with the server's rules and with another implementation, and
// lists the differences of that. Of duplicate keys in a payload the first counts. Payloads are never modified in place, and never part of an error.
//
// # What is not as in MongoDB
//
//   - $mod, $type, $expr, $where, $jsonSchema, $text, geospatial and bit operators are not there.
//   - $regex is RE2: no look-around, no back-references, no option x, and $ is the end of the text, not also before a last newline.
//   - $exists needs a boolean. An object may not mix operators and fields, whichever comes first.
//   - Numbers compare as the decimals that they spell, however long.
//   - A backslash makes a dot part of a name. All that follows metadata. is one key.
//   - occurred_at compares as time with RFC 3339 text or a date; schema_version with text, and with numbers as a number. An attribute
//     that is empty is missing.
package middleware
