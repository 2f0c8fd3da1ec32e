package forwarder

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// BenchmarkGate is what the breakers cost a publish that succeeds.
func BenchmarkGate(b *testing.B) {
	for _, topics := range []int{1, 1000} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			pubs, err := newPublishers(map[string]message.Publisher{"kafka": nowhere{}}, "")
			require.NoError(b, err)
			g := newGates(5, time.Second, pubs, func(*breaker) {})
			e, names := &store.Event{}, make([]string, topics)
			for i := range names {
				names[i] = fmt.Sprint("kafka://topic", i)
			}
			var n atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					to := names[int(n.Add(1))%topics]
					if g.isPaused(e, to) {
						b.Error("paused")
					}
					pass, ok := pubs.byName["kafka"].gate.enter(to)
					if !ok {
						b.Error("closed")
					}
					pass.done(nil)
				}
			})
		})
	}
}
