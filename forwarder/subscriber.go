package forwarder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// ErrSubscriberClosed is returned by Subscribe after Close.
var ErrSubscriberClosed = errors.New("subscriber closed")

// Subscriber reads events out of the outbox. It is a message.Subscriber: usually a [Forwarder] stands behind it, but any handler may.
//
// Each message is delivered until it is acked. A nack counts an attempt of SubscriberConfig.RetryPolicy: the message comes again after
// the policy's wait, also after a restart, and is dead when the policy gives up. Events of one ordering key come one after the other, in
// the order of their numbers, the next when the one before was acked or died. Nothing is lost when the subscriber is closed, when a
// context is cancelled or when the process is killed; what was not acked comes again.
//
// Every Subscribe call is a member of the group; members share the slots fairly and take over from each other.
// Subscriber is safe for concurrent use.
type Subscriber struct {
	db     *sql.DB
	store  *store.Store
	cfg    SubscriberConfig
	logger watermill.LoggerAdapter

	// finish records what became of a unit when its message was acked or nacked. The forwarder sets its own.
	finish func(u *unit, acked bool)
	// plain tells that no forwarder stands behind: a message is one delivery, to its own topic.
	plain bool
	gates *gates         // nil without a forwarder
	now   func() instant // what leases are counted by

	ownedMu sync.Mutex
	owned   int // slots of all readers

	repeats repeats

	mu      sync.Mutex
	closed  bool
	unready bool // the last rehearsal failed
	readers []*reader
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber checks cfg and that the tables are there, and returns a subscriber that reads nothing yet. db stays the caller's to close,
// after the subscriber. A subscription needs up to six connections of its pool. A nil logger logs nothing.
func NewSubscriber(ctx context.Context, db *sql.DB, cfg SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	if db == nil {
		return nil, errors.New("outbox subscriber: database is nil")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("outbox subscriber: %w", err)
	}
	st, err := store.Open(ctx, db, cfg.Schema)
	if err != nil {
		return nil, fmt.Errorf("outbox subscriber: %w", err)
	}
	if cfg.Listen {
		if err := checkListen(db); err != nil {
			return nil, fmt.Errorf("outbox subscriber: %w", err)
		}
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	s := &Subscriber{db: db, store: st, cfg: cfg, logger: logger, now: systemNow}
	s.finish, s.plain = s.finishPlain, true
	return s, nil
}

// Subscribe returns the events of topic, or of every topic for [AllTopics], that the subscriber's group serves. A subscription to one topic
// is a group of its own, named after both. The channel is closed when ctx ends or Close was called, after what is in flight has been acked and
// written down, or CloseTimeout has passed.
//
// The error wraps [store.ErrGroupConflict] when another group serves some of the same events.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	r, err := s.subscribe(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	return r.out, nil
}

// subscribe starts a reader. Alone tells that it is for a Router of the forwarder's own, see reader.alone.
func (s *Subscriber) subscribe(ctx context.Context, topic string, alone bool) (*reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrSubscriberClosed
	}
	group, filter := s.cfg.Group, s.cfg.filter()
	if topic != AllTopics {
		if topic == "" {
			return nil, fmt.Errorf("outbox subscriber: the topic is empty; forwarder.AllTopics (%q) means all", AllTopics)
		}
		group, filter.Topics = group+"/"+topic, []string{topic}
	}
	r := newReader(s, group, filter, alone)
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	s.readers = append(slices.DeleteFunc(s.readers, (*reader).forgettable), r)
	return r, nil
}

// Close stops reading, waits for what is in flight to be acked or nacked and written down, at most CloseTimeout, and hands the slots over.
// What had not been given to a handler stays in the table. Closing twice is harmless.
func (s *Subscriber) Close() error { return closeReaders(s.close()) }

// close has no reader started any more, and returns those that were.
func (s *Subscriber) close() []*reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Clone(s.readers)
}

// closeReaders stops readers and waits until they have ended.
func closeReaders(readers []*reader) error {
	for _, r := range readers {
		r.stop()
	}
	var errs []error
	for _, r := range readers {
		<-r.done
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}

// idle tells whether the readers have looked at everything that is held in their slots, and have nothing in memory.
func (s *Subscriber) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.readers, func(r *reader) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.kept || len(r.scans) > 0 || len(r.known) > len(r.settled)
	})
}

// scanHeld makes the readers go on with what is held in scope.
func (s *Subscriber) scanHeld(scope heldScope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readers {
		r.mu.Lock()
		r.scanHeld(scope)
		r.mu.Unlock()
	}
}

// finishPlain is what an ack and a nack mean to a handler that is no forwarder.
func (s *Subscriber) finishPlain(u *unit, acked bool) {
	t := s.plainTarget(u)
	switch o := u.outcome.Outcome(); {
	case o.Kind == delivery.Skipped && u.retry == nil:
		u.skipped(target{}, o.Reason)
	case o.Kind == delivery.Skipped:
		u.skipped(t, o.Reason)
	case o.Kind == delivery.Delayed:
		u.delayed(t, time.Until(o.Until))
	case o.Kind == delivery.Failed:
		u.failed(t, o.Err)
	case acked:
		u.sent(t)
	default:
		u.failed(t, errNacked)
	}
}

func (s *Subscriber) plainTarget(u *unit) target {
	name := targetName(u.event.Topic)
	return target{name: name, destination: name, policy: s.cfg.RetryPolicy}
}

var errNacked = errors.New("message was nacked")
