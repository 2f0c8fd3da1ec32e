// Package sink is the destination that benchmarks deliver to. It counts and checks what arrives, which costs well below a microsecond a
// message, and passes it on.
package sink

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ID is the UUID of event number (from 1) with ordering key key (from 0). It looks like any UUID, and the sink reads both out of it again.
func ID(key, number int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", key, number) }

// SQLID is ID as an SQL expression of PostgreSQL, from the expressions of an integer key and number.
func SQLID(key, number string) string {
	return `lpad((` + key + `)::text, 8, '0') || '-0000-4000-8000-' || lpad((` + number + `)::text, 12, '0')`
}

var errUnknown = errors.New("message is none of the benchmark's")

func parse(id string) (key, number int, err error) {
	if len(id) != 36 {
		return 0, 0, errUnknown
	}
	if key, err = strconv.Atoi(id[:8]); err != nil {
		return 0, 0, errUnknown
	}
	if number, err = strconv.Atoi(id[24:]); err != nil {
		return 0, 0, errUnknown
	}
	return key, number, nil
}

// Sink is a publisher that checks that each of a number of events comes once and in the order of its key. It is safe for concurrent use.
type Sink struct {
	inner message.Publisher
	total int64
	keys  []keyState
	seen  []atomic.Uint64 // a bit an event
	done  chan struct{}

	delivered, duplicated, disordered, overlapped, failed atomic.Int64
}

type keyState struct {
	busy atomic.Bool
	last atomic.Int64
}

// New returns a sink for the events 1 to total of keys ordering keys that passes messages on to inner, or to nothing when that is nil.
func New(inner message.Publisher, total, keys int) *Sink {
	return &Sink{
		inner: inner, total: int64(total), keys: make([]keyState, keys), seen: make([]atomic.Uint64, total/64+1), done: make(chan struct{}),
	}
}

// Done is closed when every event was delivered.
func (s *Sink) Done() <-chan struct{} { return s.done }

// Delivered returns how many different events were delivered so far.
func (s *Sink) Delivered() int64 { return s.delivered.Load() }

// Publish checks messages and passes them on.
func (s *Sink) Publish(topic string, messages ...*message.Message) error {
	for _, msg := range messages {
		if err := s.publish(topic, msg); err != nil {
			s.failed.Add(1)
			return err
		}
	}
	return nil
}

func (s *Sink) publish(topic string, msg *message.Message) error {
	key, number, err := parse(msg.UUID)
	if err != nil || key >= len(s.keys) || int64(number) > s.total || number < 1 {
		return errUnknown
	}
	k := &s.keys[key]
	if !k.busy.CompareAndSwap(false, true) {
		s.overlapped.Add(1)
	}
	if s.inner != nil {
		if err := s.inner.Publish(topic, msg); err != nil {
			k.busy.Store(false)
			return err
		}
	}
	last := k.last.Swap(int64(number))
	k.busy.Store(false)
	bit := uint64(1) << (number % 64)
	switch {
	case s.seen[number/64].Or(bit)&bit != 0:
		s.duplicated.Add(1)
		return nil
	case last > int64(number):
		s.disordered.Add(1)
	}
	if s.delivered.Add(1) == s.total {
		close(s.done)
	}
	return nil
}

// Close does nothing: the inner publisher is its maker's to close.
func (s *Sink) Close() error { return nil }

// Counts is what a sink found.
type Counts struct {
	Delivered  int64 `json:"delivered"`
	Duplicated int64 `json:"duplicated"`
	Disordered int64 `json:"out_of_order"` // delivered after a later event of its key
	Overlapped int64 `json:"overlapped"`   // in flight together with another event of its key
	Failed     int64 `json:"failed"`       // publishing returned an error
}

// Counts returns what was found so far.
func (s *Sink) Counts() Counts {
	return Counts{
		Delivered: s.delivered.Load(), Duplicated: s.duplicated.Load(), Disordered: s.disordered.Load(),
		Overlapped: s.overlapped.Load(), Failed: s.failed.Load(),
	}
}

// Err says what is wrong with what was found, nil when nothing is.
func (c Counts) Err() error {
	if c.Duplicated+c.Disordered+c.Overlapped+c.Failed == 0 {
		return nil
	}
	return fmt.Errorf("of %d events %d were repeated, %d out of order, %d in flight with another of their key, %d failed",
		c.Delivered, c.Duplicated, c.Disordered, c.Overlapped, c.Failed)
}
