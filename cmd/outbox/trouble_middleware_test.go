package main

import (
	"context"
	"io"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters/console"
	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// deduplicated runs an application whose Router has a Deduplicator around a forwarder, until that has swallowed a delayed event.
func deduplicated(x *trouble) {
	shop := console.NewPublisher(io.Discard, console.Config{}, nil)
	logs := watermill.NewCaptureLogger()
	f, err := forwarder.New(x.db, map[string]message.Publisher{"shop": shop}, forwarder.Config{}, logs)
	require.NoError(x, err)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(x, err)
	f.AddTo(r).AddMiddleware((&middleware.Deduplicator{
		KeyFactory: middleware.NewMessageHasherAdler32(math.MaxInt64), Repository: &memory{}, Timeout: time.Minute,
	}).Middleware)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.WithoutCancel(x.Context())) }()
	const logged = "A retry was not handled and stays due"
	x.eventually("logged", func() (string, bool) {
		for _, m := range logs.Captured()[watermill.ErrorLogLevel] {
			if m.Msg == logged {
				return "", true
			}
		}
		return "", false
	})
	require.Contains(x, x.text, logged)
	require.NoError(x, r.Close())
	require.NoError(x, <-ended)
}

// memory is that of a Deduplicator, without the goroutine that Watermill's leaves behind.
type memory struct{ keys sync.Map }

func (m *memory) IsDuplicate(_ context.Context, key string) (bool, error) {
	_, known := m.keys.LoadOrStore(key, true)
	return known, nil
}
