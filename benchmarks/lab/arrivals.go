package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// arrivals notes when the event of each number was committed and when it arrived, in memory that is there from the start: a load of minutes must
// not be disturbed by its own measurement.
type arrivals struct {
	begun time.Time
	// In nanoseconds from begun, by number; 0 when it was not yet.
	committed, arrived []atomic.Int64
	count              atomic.Int64

	mu   sync.Mutex
	late map[int]bool
}

// newArrivals returns room for events numbered below n.
func newArrivals(n int) *arrivals {
	return &arrivals{begun: time.Now(), committed: make([]atomic.Int64, n), arrived: make([]atomic.Int64, n), late: map[int]bool{}}
}

func (a *arrivals) Publish(_ string, messages ...*message.Message) error {
	now := int64(time.Since(a.begun))
	for _, msg := range messages {
		n, err := strconv.Atoi(msg.UUID[24:])
		if err != nil {
			return err
		}
		if a.arrived[n].CompareAndSwap(0, now) {
			a.count.Add(1)
		}
	}
	return nil
}

func (a *arrivals) Close() error { return nil }

func (a *arrivals) commit(n int, late bool) {
	a.committed[n].Store(int64(time.Since(a.begun)))
	if late {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.late[n] = true
	}
}

// forget takes event n out of the reckoning.
func (a *arrivals) forget(n int) { a.committed[n].Store(0) }

// latencies returns those of the events that did not, and that did, commit late, in milliseconds and in order.
func (a *arrivals) latencies() (usual, late []float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.committed {
		committed := a.committed[n].Load()
		if committed == 0 {
			continue
		}
		ms := max(0, float64(a.arrived[n].Load()-committed)/1e6)
		if a.late[n] {
			late = append(late, ms)
		} else {
			usual = append(usual, ms)
		}
	}
	slices.Sort(usual)
	slices.Sort(late)
	return usual, late
}

func await(ctx context.Context, a *arrivals, n int) error {
	const patience = 30 * time.Second
	for begun := time.Now(); a.count.Load() < int64(n); {
		if time.Since(begun) > patience || ctx.Err() != nil {
			return fmt.Errorf("%d of %d events had not arrived after %s", int64(n)-a.count.Load(), n, patience)
		}
		pause(ctx, time.Millisecond)
	}
	return nil
}
