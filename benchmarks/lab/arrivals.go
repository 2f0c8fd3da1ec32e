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

// arrivals notes when the event of each number was committed and when it arrived.
type arrivals struct {
	mu        sync.Mutex
	committed map[int]time.Time
	arrived   map[int]time.Time
	late      map[int]bool
	count     atomic.Int64
}

func (a *arrivals) Publish(_ string, messages ...*message.Message) error {
	now := time.Now()
	for _, msg := range messages {
		n, err := strconv.Atoi(msg.UUID[24:])
		if err != nil {
			return err
		}
		a.mu.Lock()
		if _, twice := a.arrived[n]; !twice {
			a.arrived[n] = now
			a.count.Add(1)
		}
		a.mu.Unlock()
	}
	return nil
}

func (a *arrivals) Close() error { return nil }

func (a *arrivals) commit(n int, late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.committed[n] = time.Now()
	if late {
		a.late[n] = true
	}
}

// forget takes event n out of the reckoning.
func (a *arrivals) forget(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.committed, n)
}

// latencies returns those of the events that did not, and that did, commit late, in order.
func (a *arrivals) latencies() (usual, late []float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, t := range a.committed {
		ms := max(0, a.arrived[n].Sub(t).Seconds()*1000)
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
