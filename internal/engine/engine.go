package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"golang.org/x/sync/semaphore"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Config says what an engine reads and how. All fields but the functions must be set.
type Config struct {
	Group  string
	Filter store.Filter

	BatchSize     int // events read at once
	MaxConcurrent int // units in flight
	SettleBatch   int // outcomes written at once
	SettleDelay   time.Duration

	SleepBusy, SleepIdle, SleepIdleMax time.Duration
	SweepInterval                      time.Duration
	ProbeInterval                      time.Duration // of each destination that is out of reach

	Lease          time.Duration
	PublishTimeout time.Duration // the margin before the end of the lease in which no publish starts
	QueryTimeout   time.Duration
	CloseTimeout   time.Duration // how long Stop waits for what is in flight

	Unordered bool
	Hooks     Hooks

	// Returned is told of each event that a verdict called Shown and that comes again as on its first pass.
	Returned func(seq int64)
	// Now reads the clocks that the lease is counted by.
	Now func() Instant
}

// Hooks are told what an engine does. They are called by the goroutines that do the work.
type Hooks struct {
	Read    func(events int, took time.Duration)
	Settled func(events int, took time.Duration)
	Died    func(destination string) // once for each delivery that is dead, when that has been written
	Slots   func(change int)         // of the number of slots that the engine owns
}

// Deliverer turns units into verdicts.
type Deliverer interface {
	// Deliver works on one unit and returns what became of it. Ctx ends when the engine stops: what has not begun by then need not begin. What
	// has begun goes on until permit.Aborted is closed.
	//
	// Deliver is called concurrently, but never for two units of one ordering key.
	Deliver(ctx context.Context, u *Unit, permit Permit) Verdict
}

// Engine is one member of a group: it reads what is to be delivered, has it delivered, and writes what became of it.
type Engine struct {
	store   *store.Store
	cfg     Config
	deliver Deliverer
	gates   Gates
	logger  watermill.LoggerAdapter

	ctx      context.Context // of deliveries; ends when the engine stops
	end      context.CancelFunc
	stopping chan struct{} // closed: nothing new is started
	aborted  chan struct{} // closed: what is in flight is given up
	done     chan struct{}
	err      error // valid when done

	publishing sharedDeadline
	payloads   *semaphore.Weighted

	mu      sync.Mutex // guards what follows, but for what a loop calls its own
	over    bool       // aborted: nothing is published any more
	lanes   lanes
	workers workers
	intake  intake
	leases  leases
	settler settler
}

// New returns an engine that reads nothing yet.
func New(s *store.Store, cfg Config, deliver Deliverer, gates Gates, logger watermill.LoggerAdapter) *Engine {
	e := &Engine{
		store: s, cfg: cfg, deliver: deliver, gates: gates, logger: logger.With(watermill.LogFields{"outbox_group": cfg.Group}),
		stopping: make(chan struct{}), aborted: make(chan struct{}), done: make(chan struct{}), payloads: newPayloads(),
		workers: workers{quiet: make(chan struct{})},
	}
	e.intake = intake{e: e, wake: make(signal, 1)}
	e.leases = leases{e: e, wake: make(signal, 1)}
	e.settler = settler{e: e, wake: make(signal, 1)}
	e.lanes = newLanes(e.leases.wake)
	return e
}

// Start joins the group and starts to read, until ctx ends or Stop is called.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.leases.join(ctx); err != nil {
		return err
	}
	e.ctx, e.end = context.WithCancel(ctx)
	e.publishing = sharedDeadline{timeout: e.cfg.PublishTimeout, values: e.ctx}
	go e.run()
	return nil
}

// Stop makes the engine start nothing new. Done tells when it has ended. Stopping twice is harmless.
func (e *Engine) Stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.stopping:
	default:
		close(e.stopping)
	}
}

// Abort has the engine give up what is in flight once it stops. Nothing is published any more.
func (e *Engine) Abort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.over = true
		close(e.aborted)
	}
}

// Done is closed when the engine has stopped and its slots are given back.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Quiet is closed when no delivery is under way any more, which after an abort may be long after Done.
func (e *Engine) Quiet() <-chan struct{} { return e.workers.quiet }

// Err says what went wrong with giving the slots back. It is valid when Done is closed.
func (e *Engine) Err() error { return e.err }

// Wake makes the engine look for events at once, however long it would sleep.
func (e *Engine) Wake() { e.intake.wake.give() }

// Opened makes the engine go on with what is held in scope.
func (e *Engine) Opened(scope Scope) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.intake.scanHeld(scope)
}

// Idle reports whether the engine has looked at everything that is held in its slots, and has nothing in memory.
func (e *Engine) Idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leases.kept && len(e.intake.scans) == 0 && len(e.lanes.known) <= len(e.settler.settled)
}

// Lacks says what the engine has found out by itself that it cannot do now.
func (e *Engine) Lacks() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.leases.fails:
		return errors.New("cannot renew its lease")
	case !e.leases.kept:
		return errors.New("has not taken its share of the slots yet")
	case e.leases.until.left(e.cfg.Now()) <= e.cfg.PublishTimeout:
		return errors.New("has no lease that is long enough to publish under")
	case e.settler.broken:
		return errors.New("cannot write outcomes")
	case e.intake.fails:
		return errors.New("cannot read events")
	}
	return nil
}

func (e *Engine) run() {
	defer close(e.done)
	var reading, settling, leasing sync.WaitGroup
	leaseEnd := make(chan struct{})
	reading.Go(e.intake.loop)
	settling.Go(e.settler.loop)
	leasing.Go(func() { e.leases.loop(leaseEnd) })

	select {
	case <-e.ctx.Done():
	case <-e.stopping:
	}
	e.Stop()
	e.end()
	e.halt() // first: workers must not go on with what was read while a statement takes its time
	closeTimeout := time.AfterFunc(e.cfg.CloseTimeout, e.Abort)
	defer closeTimeout.Stop()
	reading.Wait()
	select {
	case <-e.workers.quiet:
	case <-e.aborted:
		e.logger.Info("Closed with deliveries that did not end in time; they will come again", watermill.LogFields{"timeout": e.cfg.CloseTimeout})
	}
	e.settler.wake.give()
	settling.Wait()
	close(leaseEnd)
	leasing.Wait()
	e.publishing.close()
	if err := e.leases.leave(); err != nil {
		e.err = fmt.Errorf("others take over when the lease of %s ends: %w", e.cfg.Lease, err)
	}
}

// pause waits for d, or until the engine stops; wake-ups do not shorten it.
func (e *Engine) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.stopping:
	}
}

// signal wakes one waiter, once, however often it is given.
type signal chan struct{}

func (s signal) give() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Backoff returns the wait after a number of failures in a row: 100 ms, doubled up to 5 s.
func Backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures, 6), 5*time.Second)
}

// Notable reports whether a failure in a row, counted from 1, is logged: ever fewer are, so that a cause that has changed is seen and the log is
// not flooded.
func Notable(failures int) bool { return failures&(failures-1) == 0 }
