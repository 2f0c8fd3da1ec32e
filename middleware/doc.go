// Package middleware is what happens around one delivery: one idea a file, each a constructor that returns a
// message.HandlerMiddleware for any Watermill Router.
//
//   - [Match] hands on what meets conditions, [Sample] a share of it
//   - [Delay] hands on later, [Transform] with another payload
//   - [Retry] tries again, [PoisonQueue] puts aside what nobody tries again
//
// Under the forwarder of this project they record their outcome on the delivery, so that waits and retries are durable and hold no
// goroutine. With any other subscriber they do what a Watermill user expects: what is filtered out is acknowledged, waits happen in
// place. Package router compiles the same parts, [NewMatcher], [NewSampler] and [NewTransformer], into the plans of the forwarder.
//
// Conditions follow MongoDB's query language, and their authors need not be trusted: [Limits] bound them, patterns are RE2, and what
// they may cost on one payload is bounded too. Folder mongotest compares them with another implementation and lists the
// differences. Of duplicate keys in a payload the first counts. Payloads are never modified in place, and never part of an error.
package middleware
