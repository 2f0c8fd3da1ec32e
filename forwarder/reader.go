package forwarder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/semaphore"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// reader is one subscription: one member of a group. Four goroutines share its state under mu: the poll loop reads, workers hand messages
// out, the settler writes outcomes down, and the lease loop keeps the slots.
type reader struct {
	sub    *Subscriber
	store  *schema.Store
	cfg    SubscriberConfig
	logger watermill.LoggerAdapter
	group  string
	filter schema.Filter

	out  chan *message.Message
	ctx  context.Context // of messages; ends when the reader stops
	end  context.CancelFunc
	big  *semaphore.Weighted // bytes of long payloads in memory
	stop func()

	stopping chan struct{} // nothing new is started
	abort    chan struct{} // CloseTimeout has passed: what is in flight is given up
	done     chan struct{}
	err      error // valid when done

	wakePoll, wakeSettle, wakeLease signal

	publishing sharedDeadline

	mu       sync.Mutex
	id       string // as a member of the group
	lease    deadline
	slots    map[int]*slot
	known    map[unitID]*unit // queued, in flight, or not settled yet
	settled  []*unit          // to forget before the next read
	tails    map[heldID]*unit // the last unit in memory, or unsettled, of what is tried again in the order of its key
	scans    []*scan          // of held deliveries, to go on with
	openings int              // counts what makes a scan under way begin anew
	probed   time.Time        // when destinations out of reach were given a delivery to probe with
	chains   map[int64]*chain // by ordering key: one unit runs or is ready, the others queue
	ready    []*unit
	active   int // workers
	halted   bool
	full     bool    // the poll loop waits for room
	outcomes []*unit // finished, to be settled
	broken   bool    // the last settle failed: nothing new is published
	nextDue  time.Time
	turn     int           // of the slots, when deliveries are due; the poll loop's own
	quiet    chan struct{} // closed when the last worker has gone after halted
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

// scan reads what is held for a destination, or all that is held, in the order of its numbers.
type scan struct {
	destination string
	probe       bool // one delivery a slot is enough
	after       map[int]int64
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

func newReader(s *Subscriber, group string, filter schema.Filter) *reader {
	r := &reader{
		sub: s, store: s.store, cfg: s.cfg, group: group, filter: filter,
		logger: s.logger.With(watermill.LogFields{"outbox_group": group}),
		out:    make(chan *message.Message), big: semaphore.NewWeighted(bigPayloads),
		stopping: make(chan struct{}), abort: make(chan struct{}), done: make(chan struct{}), quiet: make(chan struct{}),
		wakePoll: make(signal, 1), wakeSettle: make(signal, 1), wakeLease: make(signal, 1),
		publishing: sharedDeadline{timeout: s.cfg.PublishTimeout},
		tails:      map[heldID]*unit{},
		slots:      map[int]*slot{}, known: map[unitID]*unit{}, chains: map[int64]*chain{},
	}
	r.stop = sync.OnceFunc(func() { close(r.stopping) })
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

func (r *reader) run() {
	defer close(r.done)
	var loops, settler, leases sync.WaitGroup
	leaseEnd := make(chan struct{})
	loops.Go(func() { r.pollLoop() })
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
	closeTimeout := time.AfterFunc(r.cfg.CloseTimeout, func() { close(r.abort) })
	defer closeTimeout.Stop()
	select {
	case <-r.quiet:
	case <-r.abort:
		r.logger.Info("Closed with messages that were not acked in time; they will come again", watermill.LogFields{"timeout": r.cfg.CloseTimeout})
		<-r.quiet
	}
	r.wakeSettle.give()
	settler.Wait()
	close(leaseEnd)
	leases.Wait()
	r.publishing.close()
	r.err = r.leave()
	close(r.out)
}

// heldRun is how many deliveries that are held behind one of their key are read with it, so that they need not be made due one by one.
const heldRun = 16

// pollLoop reads until the reader stops.
func (r *reader) pollLoop() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx))
	defer cancel()
	go func() {
		select {
		case <-r.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	var m marks
	sweep := sweeper{interval: r.cfg.SweepInterval, next: time.Now().Add(r.cfg.SweepInterval)}
	idle, failures := r.cfg.SleepIdle, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.stopping:
			return
		case <-timer.C:
		case <-r.wakePoll:
		}
		found, err := r.look(ctx, &m, &sweep)
		wait := r.cfg.SleepBusy
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return
			}
			// Whatever answers next may be another server: nothing that was seen counts any more.
			m.reset()
			r.rereadAll()
			wait = backoff(failures)
			if failures++; failures == 1 {
				r.logger.Error("Cannot read the outbox; trying again until it works", err, nil)
			}
			r.pause(wait)
		case found == lookFull:
			wait = r.cfg.SleepIdleMax // a worker or the settler wakes the loop before
		case found == lookMore:
			wait = 0
		case found == lookNothing:
			wait = idle
			idle = min(idle*3/2, r.cfg.SleepIdleMax)
		}
		if err == nil && failures > 0 {
			r.logger.Info("Reading the outbox again", watermill.LogFields{"failures": failures})
			failures = 0
		}
		if found != lookNothing {
			idle = r.cfg.SleepIdle
		}
		timer.Reset(wait)
	}
}

// pause waits for d, or until the reader stops; wake-ups do not shorten it.
func (r *reader) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.stopping:
	}
}

// backoff returns the wait after a number of failures in a row: 100 ms, doubled up to 5 s.
func backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures, 6), 5*time.Second)
}

type lookResult int

const (
	lookNothing lookResult = iota // nothing new
	lookSome                      // something, and nothing is left
	lookMore                      // something, and more is waiting
	lookFull                      // not looked: no room, no lease, or outcomes cannot be written
)

// sweeper says when all pending work is read again, whatever the marks say.
type sweeper struct {
	interval time.Duration
	next     time.Time
}

// done plans the next sweep: after the interval, and never more than a fiftieth of the time.
func (s *sweeper) done(now time.Time, took time.Duration) { s.next = now.Add(max(s.interval, 50*took)) }

// look asks the database what is new and takes it in.
func (r *reader) look(ctx context.Context, m *marks, sweep *sweeper) (lookResult, error) {
	room, all := r.prepare()
	if room == 0 {
		return lookFull, nil
	}
	if len(all) == 0 {
		return lookNothing, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	found := lookNothing
	n, err := r.lookForDue(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		found = lookSome
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	n, scanning, err := r.lookForHeld(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if scanning {
		found = lookMore
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	mark, err := r.store.Ask(ctx)
	if err != nil {
		return 0, err
	}
	sweeping := !time.Now().Before(sweep.next)
	if m.quiet(mark) && !sweeping && !r.unread() {
		return found, nil
	}
	writers, err := r.store.Writers(ctx)
	if err != nil {
		return 0, err
	}
	from, late := m.advance(mark, writers)
	if sweeping {
		from = 0
		r.mu.Lock()
		r.scanHeld("")
		r.mu.Unlock()
	}
	start := time.Now()
	ranges := r.ranges(from, room, sweeping)
	events, err := r.store.Read(ctx, ranges, inlinePayload, r.filter, late)
	if err != nil {
		return 0, err
	}
	taken, more := r.take(events, ranges, mark)
	if sweeping {
		sweep.done(time.Now(), time.Since(start))
	}
	switch {
	case more:
		found = lookMore
	case taken > 0 && found == lookNothing:
		found = lookSome
	}
	return found, nil
}

// prepare forgets what is settled, which must be before anything is read, and returns how many events there is room for and which slots to
// read. Room is 0 when nothing must be started now.
func (r *reader) prepare() (room int, slots []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.settled {
		delete(r.known, u.id())
		r.dropTail(u)
	}
	clear(r.settled)
	r.settled = r.settled[:0]
	if r.broken || r.lease.left(time.Now()) <= r.cfg.PublishTimeout {
		return 0, nil
	}
	room = 3*r.cfg.BatchSize + r.cfg.MaxConcurrent - len(r.known)
	if r.full = room < r.cfg.BatchSize; r.full {
		return 0, nil
	}
	for n, s := range r.slots {
		if !s.draining {
			slots = append(slots, n)
		}
	}
	slices.Sort(slots)
	return min(room, r.cfg.BatchSize), slots
}

func (r *reader) unread() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		if s.fresh || s.more {
			return true
		}
	}
	return false
}

func (r *reader) rereadAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		s.reread()
	}
	r.nextDue = time.Time{}
}

func (s *slot) reread() { s.fresh, s.next = true, 0 }

// ranges says what to read: every slot above its mark and not above from. Slots known to have more share the room.
func (r *reader) ranges(from int64, room int, sweeping bool) []schema.Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	backlogged := 0
	for _, s := range r.slots {
		if !s.draining && (s.more || s.fresh) {
			backlogged++
		}
	}
	list := make([]schema.Range, 0, len(r.slots))
	for n, s := range r.slots {
		if s.draining {
			continue
		}
		if sweeping && !s.fresh {
			s.swept = s.next
		}
		s.next = min(s.next, from)
		limit := room / len(r.slots)
		if s.more || s.fresh {
			limit = room / backlogged
		}
		s.fresh = false
		list = append(list, schema.Range{Slot: n, After: s.next, Limit: max(limit, 8)})
	}
	slices.SortFunc(list, func(a, b schema.Range) int { return cmp.Compare(a.Slot, b.Slot) })
	return list
}

// take queues what was read. It returns how many events are new, and whether more is waiting.
func (r *reader) take(events []schema.Event, ranges []schema.Range, mark schema.Mark) (taken int, more bool) {
	bySlotAndSeq := func(a, b schema.Event) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Seq, b.Seq)) }
	if !slices.IsSortedFunc(events, bySlotAndSeq) {
		slices.SortFunc(events, bySlotAndSeq)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	missed := 0
	for _, rg := range ranges {
		n := 0
		for n < len(events) && events[n].Slot == rg.Slot {
			n++
		}
		mine := events[:n]
		events = events[n:]
		s := r.slots[rg.Slot]
		if s == nil || s.draining {
			continue
		}
		if s.fresh { // given up meanwhile: what was read is incomplete
			more = true
			continue
		}
		s.next, s.more = mark.Last, n == rg.Limit
		if s.more {
			s.next = min(mine[n-1].Seq, mark.Last)
			more = true
		}
		for i := range mine {
			e := &mine[i]
			if e.Topic == "" { // another group's
				continue
			}
			if _, known := r.known[unitID{e.Seq, ""}]; known {
				continue
			}
			if e.Seq <= s.swept {
				missed++
			}
			u := &unit{event: *e, epoch: s.epoch, reader: r}
			r.enqueue(u, s)
			taken++
		}
		if !s.more {
			s.swept = 0
		}
	}
	if missed > 0 {
		r.logger.Info("A sweep found events that were missed before", watermill.LogFields{"events": missed})
	}
	r.pump()
	return taken, more
}

// lookForDue queues deliveries whose time has come.
func (r *reader) lookForDue(ctx context.Context, slots []int, room int) (int, error) {
	const atLeastEvery = time.Second // finds what operators have changed
	r.mu.Lock()
	now := time.Now()
	if now.Before(r.nextDue) {
		r.mu.Unlock()
		return 0, nil
	}
	r.nextDue = now.Add(atLeastEvery)
	running := 0
	for _, s := range r.slots {
		running += s.retries
	}
	r.mu.Unlock()

	// Slots take turns at being first, for the limit may leave out the last.
	r.turn = (r.turn + 1) % len(slots)
	slots = slices.Concat(slots[r.turn:], slots[:r.turn])
	due, err := r.store.Due(ctx, slots, room+running, heldRun, inlinePayload, r.filter)
	if err != nil {
		return 0, err
	}
	wait, waiting, err := r.store.NextDue(ctx, slots)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.takeAgain(due, false)
	if waiting {
		if wait <= 0 && taken == 0 {
			wait = 100 * time.Millisecond // in flight already, or another group's
		}
		if t := now.Add(wait); t.Before(r.nextDue) {
			r.nextDue = t
		}
	}
	r.pump()
	return taken, nil
}

// takeAgain queues deliveries that are tried again and returns how many are new. What is held for something that is closed stays held, unless it
// is to probe. The caller holds mu.
func (r *reader) takeAgain(list []schema.Due, probe bool) (taken int) {
	for i := range list {
		d := list[i].Delivery
		s := r.slots[d.Slot]
		if s == nil || s.draining || list[i].Event.Topic == "" {
			continue
		}
		u := &unit{event: list[i].Event, retry: &d, epoch: s.epoch, reader: r}
		if _, known := r.known[u.id()]; known {
			continue
		}
		if d.State == schema.Held && !probe && r.sub.gates != nil && r.sub.gates.closed(u, d.Destination) {
			continue
		}
		r.enqueue(u, s)
		taken++
	}
	return taken
}

// scanHeld plans to go on with what is held, after something has opened. The caller holds mu.
//
// Scans under way begin anew: they have passed by what was closed, and must not come to a later delivery of the same key first.
func (r *reader) scanHeld(destination string) {
	r.openings++
	for _, s := range r.scans {
		clear(s.after)
	}
	r.scans = slices.DeleteFunc(r.scans, func(s *scan) bool { return s.destination == destination })
	r.scans = append(r.scans, &scan{destination: destination, after: map[int]int64{}})
	r.wakePoll.give()
}

// lookForHeld queues a part of what is held and may go on. Scanning tells that there is more of it to look at.
func (r *reader) lookForHeld(ctx context.Context, slots []int, room int) (taken int, scanning bool, err error) {
	r.planProbes()
	r.mu.Lock()
	if len(r.scans) == 0 {
		r.mu.Unlock()
		return 0, false, nil
	}
	sc, openings := r.scans[0], r.openings
	ranges := make([]schema.Range, len(slots))
	for i, n := range slots {
		ranges[i] = schema.Range{Slot: n, After: sc.after[n]}
	}
	r.mu.Unlock()

	limit := max(room/len(slots), 64) // more than the targets of one event, whose rows share a number
	if sc.probe {
		limit = 1
	}
	list, err := r.store.Held(ctx, ranges, limit, inlinePayload, r.filter, sc.destination)
	if err != nil {
		return 0, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.openings != openings {
		return 0, true, nil
	}
	taken = r.takeAgain(list, sc.probe)
	count := map[int]int{}
	for _, d := range list {
		count[d.Slot]++
		sc.after[d.Slot] = d.Seq - 1 // other targets of the same event may have been cut off
	}
	full := false
	for _, n := range count {
		full = full || n == limit
	}
	if (!full || sc.probe) && len(r.scans) > 0 && r.scans[0] == sc {
		r.scans = r.scans[1:]
	}
	r.pump()
	return taken, len(r.scans) > 0 && taken > 0, nil
}

// planProbes gives destinations that are out of reach a delivery to probe with, if any is held.
func (r *reader) planProbes() {
	if r.sub.gates == nil || time.Since(r.probed) < r.sub.gates.probe {
		return
	}
	r.probed = time.Now()
	for _, destination := range r.sub.gates.unreachable() {
		r.mu.Lock()
		if !slices.ContainsFunc(r.scans, func(s *scan) bool { return s.destination == destination }) {
			r.scans = append(r.scans, &scan{destination: destination, probe: true, after: map[int]int64{}})
		}
		r.mu.Unlock()
	}
}
