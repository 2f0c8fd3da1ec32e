// Package middleware runs the middlewares on handlers of an ordinary Watermill Router, with Kafka and with the outbox itself as
// Pub/Subs. Package middleware's own tests do so with GoChannel and Redis Streams.
package middleware_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick")) // sarama's, for good
}
