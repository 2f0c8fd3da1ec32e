package forwarder

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"sync"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/engine"
)

// member is a forwarder with a process of its own: its statements and its publishes wait for the test, and it has clocks of its own.
type member struct {
	w      *protocolWorld
	number int
	db     *sql.DB
	f      *Forwarder
	deaf   chan struct{} // closed: its handler takes no more messages
	ended  chan struct{} // nothing of it runs any more
	cancel context.CancelFunc
	err    error // of Close, when ended

	mayStep   bool          // its wall clock is set now and then; else its machine is suspended now and then
	suspended time.Duration // what its monotonic clock has missed
	stepped   time.Duration // what its wall clock was set forward

	mu        sync.Mutex
	gated     bool
	crashed   bool
	closing   bool
	calls     map[string]*call
	unwritten bool // its last attempt to write outcomes failed
}

// publishing is one attempt to publish.
type publishing struct {
	m      *member
	e      *event
	target string
	epoch  int64
	began  time.Time
	free   bool // outside the order of its key
	ended  bool
	result error
	done   chan error
}

// now is what the member's clocks show. The clock of the test is the true one.
func (m *member) now() engine.Instant {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	t := time.Now()
	return engine.At(t.Add(-m.suspended), t.Round(0).Add(m.stepped))
}

// start starts a forwarder, which waits with its first statement.
func (w *protocolWorld) start(mayStep bool) {
	m := &member{
		w: w, number: len(w.members) + 1, mayStep: mayStep, calls: map[string]*call{}, deaf: make(chan struct{}), ended: make(chan struct{}),
	}
	w.members = append(w.members, m)
	m.db = gated(w.connector, m)
	f, err := New(m.db, map[string]message.Publisher{"sink": m}, Config{
		Subscriber: SubscriberConfig{
			Lease: protocolLease, PublishTimeout: protocolMargin, QueryTimeout: 30 * time.Minute, CloseTimeout: 20 * time.Minute,
			SweepInterval: time.Hour, SleepIdleMax: protocolTick, BatchSize: 10, MaxConcurrent: 4, SettleBatch: 3,
		},
		Routes: w.routes,
	}, watermill.NopLogger{})
	require.NoError(w.t, err)
	_, err = f.open(context.Background())
	require.NoError(w.t, err)
	m.f, m.gated = f, true
	f.now = m.now
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	go m.run(ctx)
	synctest.Wait()
}

func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	out := make(chan *message.Message)
	var d engine.Deliverer = mounted{m.f, out}
	if m.w.alone {
		d = direct{m.f}
	}
	joined, err := m.f.join(ctx, AllTopics, d, func() { close(out) })
	if err != nil { // as a process that cannot start
		m.mu.Lock()
		m.crashed = true
		m.mu.Unlock()
		return
	}
	var handlers sync.WaitGroup
	for open := true; open; {
		select {
		case msg, more := <-out:
			if open = more; more {
				handlers.Go(func() { // as a Router does
					if m.f.handle(msg) == nil {
						msg.Ack()
					} else {
						msg.Nack()
					}
				})
			}
		case <-joined.done:
			open = false
		case <-m.deaf:
			open = false
		}
	}
	m.err = m.f.Close()
	handlers.Wait()
}

// Publish implements message.Publisher. It waits for what the test answers.
func (m *member) Publish(topic string, msgs ...*message.Message) error {
	w := m.w
	n, err := strconv.Atoi(string(msgs[0].Payload))
	if err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(msgs[0].Metadata.Get(outbox.KeyEpoch), 10, 64)
	if err != nil {
		return err
	}
	w.mu.Lock()
	m.mu.Lock()
	crashed := m.crashed
	m.mu.Unlock()
	if crashed {
		w.mu.Unlock()
		return errCrashed
	}
	p := &publishing{m: m, e: w.events[n], target: topic, epoch: epoch, began: time.Now(), done: make(chan error)}
	w.begun = append(w.begun, p)
	w.mu.Unlock()
	return <-p.done
}

// Close implements message.Publisher.
func (m *member) Close() error { return nil }

// stop closes the forwarder, as its process's end does.
func (m *member) stop() {
	m.closing = true
	close(m.deaf)
	synctest.Wait()
}

// crash ends the process: what it had in memory is gone, nothing is released, and nothing of it takes effect any more. Arrived are the
// publishes that were on their way far enough.
func (m *member) crash(arrived func(*publishing) bool) {
	m.mu.Lock()
	m.crashed = true
	calls := m.calls
	m.calls = map[string]*call{}
	m.mu.Unlock()
	for _, l := range loops {
		if c := calls[l]; c != nil {
			c.release <- errCrashed
		}
	}
	for _, p := range m.w.inFlight() {
		if p.m == m {
			if arrived(p) {
				p.e.arrived[p.target] = true
			}
			m.w.answer(p, errCrashed)
		}
	}
	if !m.closing {
		m.stop()
	}
	m.cancel()
	synctest.Wait()
}

func (m *member) alive() bool {
	select {
	case <-m.ended:
		return false
	default:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.crashed
}

// waiting returns the calls that wait for the test.
func (m *member) waiting() (list []*call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range loops {
		if c := m.calls[l]; c != nil {
			list = append(list, c)
		}
	}
	return list
}

// let lets a call go, or fail, and waits until nothing moves any more.
func (m *member) let(c *call, err error) {
	m.mu.Lock()
	delete(m.calls, c.loop)
	m.mu.Unlock()
	m.w.t.Logf("member %d %s: %v, error %v", m.number, c.loop, c, err)
	c.release <- err
	synctest.Wait()
	m.w.check()
}

// inFlight returns the publishes that wait for the test.
func (w *protocolWorld) inFlight() (list []*publishing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.publishes {
		if !p.ended {
			list = append(list, p)
		}
	}
	return list
}

// answer ends a publish.
func (w *protocolWorld) answer(p *publishing, err error) {
	w.t.Logf("member %d epoch %d: publish of event %d to %s ends: %v", p.m.number, p.epoch, p.e.n, p.target, err)
	p.ended, p.result = true, err
	if err == nil {
		p.e.arrived[p.target] = true
	}
	p.done <- err
	synctest.Wait()
}

// collect takes over the publishes that have begun since, in an order that does not depend on the scheduler.
func (w *protocolWorld) collect() (begun []*publishing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun, w.begun = w.begun, nil
	slices.SortFunc(begun, func(a, b *publishing) int {
		return cmp.Or(cmp.Compare(a.m.number, b.m.number), cmp.Compare(a.e.n, b.e.n), cmp.Compare(a.target, b.target))
	})
	return begun
}
