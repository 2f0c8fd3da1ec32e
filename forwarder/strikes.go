package forwarder

import (
	"sync"
	"sync/atomic"
)

// strikeID names a delivery.
type strikeID struct {
	seq    int64
	target string
}

// strikes counts how often deliveries failed by the fault of their destination while others got through to it, so that its breaker stays closed.
// It is forgotten when the process ends: then they have all their chances again.
type strikes struct {
	limit int // how many of a suspect count for nothing

	mu    sync.Mutex
	count map[strikeID]int
	known atomic.Int32 // len(count)
}

// maxStrikes bounds the memory of strikes; then all of it is forgotten.
const maxStrikes = 10_000

// hit counts one more and returns how many there are.
func (s *strikes) hit(id strikeID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil || len(s.count) >= maxStrikes && s.count[id] == 0 {
		s.count = map[strikeID]int{}
	}
	s.count[id]++
	s.known.Store(int32(len(s.count)))
	return s.count[id]
}

// forget is for a delivery that got through, or that is held now.
func (s *strikes) forget(id strikeID) {
	if s.known.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.count, id)
	s.known.Store(int32(len(s.count)))
}
