package forwarder

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/semaphore"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// reader is one subscription: one member of a group. Its goroutines share its state under mu: the poll loop reads (reader_poll.go, and
// reader_again.go for what is tried again), workers hand messages out (reader_dispatch.go), the settler writes outcomes down
// (reader_settle.go), and the lease loop keeps the slots (reader_lease.go).
type reader struct {
	sub    *Subscriber
	store  *store.Store
	cfg    SubscriberConfig
	logger watermill.LoggerAdapter
	group  string
	filter store.Filter
	now    func() instant // what leases are counted by
	// alone reports whether the forwarder runs on a Router of its own: no middleware of an application sees a message before or instead of its
	// handler.
	alone bool

	out  chan *message.Message
	ctx  context.Context // of messages; ends when the reader stops
	end  context.CancelFunc
	big  *semaphore.Weighted // bytes of long payloads in memory
	stop func()

	stopping chan struct{} // nothing new is started
	abort    chan struct{} // CloseTimeout has passed: what is in flight is given up
	giveOver func()        // closes abort
	done     chan struct{}
	err      error // valid when done

	wakePoll, wakeSettle, wakeLease signal

	publishing sharedDeadline

	mu       sync.Mutex
	id       string  // as a member of the group
	lease    instant // when it ends
	kept     bool    // the share of slots was taken, once at least
	slots    map[int]*slot
	known    map[unitID]*unit // queued, in flight, or not settled yet
	settled  []*unit          // to forget before the next read
	tails    map[heldID]*unit // the last unit in memory, or unsettled, of what is tried again in the order of its key
	scans    []*scan          // of held deliveries, to go on with
	probed   time.Time        // when destinations out of reach were given a delivery to probe with
	chains   map[int64]*chain // by ordering key: one unit runs or is ready, the others queue
	ready    []*unit
	active   int // workers
	halted   bool
	over     bool    // aborted: nothing is published any more
	told     int     // slots, as the hook was told
	full     bool    // the poll loop waits for room
	outcomes []*unit // finished, to be settled
	broken   bool    // the last settle failed: nothing new is published
	// leaseFails and readFails tell that the last attempt to keep the lease, or to read, failed.
	leaseFails, readFails bool
	nextDue               time.Time
	turn                  int           // of the slots, when deliveries are due; the poll loop's own
	batch                 []store.Event // memory of the last read; the poll loop's own
	held                  []store.Due   // the same, of what was held
	quiet                 chan struct{} // closed when the last worker has gone after halted
}

// slot is a slot that the reader owns.
type slot struct {
	epoch    int64
	next     int64 // everything visible up to here was read
	fresh    bool  // must be read from next whatever the marks say
	more     bool  // the last read ended at its limit
	swept    int64 // during a sweep: what it finds up to here was missed before
	draining bool  // to be released
	units    int   // in memory
	retries  int   // of them, tried before
	blocks   map[blockID]*block
}

type blockID struct {
	target string
	key    int64
}

// block is a key that is held back for a target: by rows, or by outcomes that are not settled yet.
type block struct {
	rows      bool
	unsettled int
}

type heldID struct {
	slot int
	blockID
}

type chain struct{ queue []*unit }

// signal wakes one waiter, once, however often it is given.
type signal chan struct{}

func (s signal) give() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func newReader(s *Subscriber, group string, filter store.Filter, alone bool) *reader {
	r := &reader{
		sub: s, store: s.store, cfg: s.cfg, group: group, filter: filter, now: s.now, alone: alone,
		logger: s.logger.With(watermill.LogFields{"outbox_group": group}),
		out:    make(chan *message.Message), big: semaphore.NewWeighted(bigPayloads),
		stopping: make(chan struct{}), abort: make(chan struct{}), done: make(chan struct{}), quiet: make(chan struct{}),
		wakePoll: make(signal, 1), wakeSettle: make(signal, 1), wakeLease: make(signal, 1),
		publishing: sharedDeadline{timeout: s.cfg.PublishTimeout},
		tails:      map[heldID]*unit{},
		slots:      map[int]*slot{}, known: map[unitID]*unit{}, chains: map[int64]*chain{},
	}
	r.stop = sync.OnceFunc(func() { close(r.stopping) })
	r.giveOver = sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over = true
		close(r.abort)
	})
	return r
}

// start joins the group and starts to read, until ctx ends or stop is called.
func (r *reader) start(ctx context.Context) error {
	if err := r.join(ctx); err != nil {
		return fmt.Errorf("outbox subscriber: %w", err)
	}
	r.ctx, r.end = context.WithCancel(ctx)
	go r.run()
	return nil
}

// ended tells whether the reader has stopped.
func (r *reader) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// forgettable tells whether the reader has stopped, and left nothing to report.
func (r *reader) forgettable() bool { return r.ended() && r.err == nil }

func (r *reader) run() {
	defer close(r.done)
	var loops, settler, leases sync.WaitGroup
	leaseEnd := make(chan struct{})
	loops.Go(func() { r.pollLoop() })
	if r.cfg.Listen {
		loops.Go(func() { r.listen() })
	}
	settler.Go(func() { r.settleLoop() })
	leases.Go(func() { r.leaseLoop(leaseEnd) })

	select {
	case <-r.ctx.Done():
	case <-r.stopping:
	}
	r.stop()
	r.end()
	loops.Wait()
	r.halt()
	closeTimeout := time.AfterFunc(r.cfg.CloseTimeout, r.giveOver)
	defer closeTimeout.Stop()
	select {
	case <-r.quiet:
	case <-r.abort:
		r.logger.Info("Closed with messages that were not acked in time; they will come again", watermill.LogFields{"timeout": r.cfg.CloseTimeout})
		if !r.alone { // else nobody waits who could give them up; what becomes of them is not looked at any more
			<-r.quiet
		}
	}
	r.wakeSettle.give()
	settler.Wait()
	close(leaseEnd)
	leases.Wait()
	r.publishing.close()
	r.err = r.leave()
	close(r.out)
}
