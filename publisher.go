package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Publisher stores messages as events, inside the caller's transaction. It is a message.Publisher.
//
// The topic of the message is the topic of the event. The Set functions of this package set its other attributes. Messages are not modified.
//
// A message that came from an outbox may be published unchanged: the headers of its delivery, such as [KeyID], are left out, and its attributes are
// kept; see [StripHeaders]. A message in the envelope of Watermill's forwarder is unwrapped.
//
// A Publisher is as safe for concurrent use as the transaction it was made for; *sql.Tx is.
type Publisher struct {
	db      Executor
	cfg     Config
	chosen  schema.Dialect // empty when nobody has chosen one
	adapter *adapter
	logger  watermill.LoggerAdapter

	mu     sync.Mutex
	closed bool
}

var _ message.Publisher = (*Publisher)(nil)

var adapters sync.Map // adapterConfig -> *adapter: one publisher a transaction must be cheap

// NewPublisher returns a publisher for one transaction: a *sql.Tx, a *sqlx.Tx, that of another library, see [Executor], or a pgx transaction in [Pgx].
// The caller commits; a rollback discards the events. With a *sql.DB each Publish call is its own transaction. NewPublisher does no I/O and takes about
// a microsecond. A nil logger discards logs.
func NewPublisher(tx Executor, cfg Config, logger watermill.LoggerAdapter) (*Publisher, error) {
	if err := checkExecutor(tx); err != nil {
		return nil, fmt.Errorf("outbox publisher: %w", err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	if cfg.Dialect == "" {
		cfg.Dialect = dialectOf(tx)
	}
	chosen := cfg.Dialect
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = DefaultMaxPayload
	}
	if cfg.MaxPayload < 0 {
		return nil, fmt.Errorf("outbox publisher: MaxPayload is %d, must not be negative", cfg.MaxPayload)
	}
	if cfg.Notify && cfg.Dialect != "" && cfg.Dialect != schema.PostgreSQL {
		return nil, fmt.Errorf("outbox publisher: Notify is for PostgreSQL, not for %s", cfg.Dialect)
	}
	if cfg.Routes == nil {
		cfg.Routes = anyConfig{}
	}
	key := adapterConfig{cfg.Dialect, cfg.Names, cfg.OrderingMetadataKey, cfg.DefaultTenantID}
	a, ok := adapters.Load(key)
	if !ok {
		made, err := newAdapter(key)
		if err != nil {
			return nil, fmt.Errorf("outbox publisher: %w", err)
		}
		a, _ = adapters.LoadOrStore(key, made)
	}
	return &Publisher{db: tx, cfg: cfg, chosen: chosen, adapter: a.(*adapter), logger: logger}, nil
}

// Publish stores messages as events of topic, in order, under the context of the first message. After an error the caller must roll back. An invalid
// message is reported as a [*MessageError] before anything is sent to the database. Publishing no messages does nothing.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	ctx := context.Background()
	if len(messages) > 0 && messages[0] != nil {
		ctx = messages[0].Context()
	}
	return p.publish(ctx, context.Background(), topic, messages)
}

// PublishContext is Publish under ctx, whatever the messages' own contexts are.
func (p *Publisher) PublishContext(ctx context.Context, topic string, messages ...*message.Message) error {
	return p.publish(ctx, ctx, topic, messages)
}

// publish stores messages under ctx. Those without a trace context take that of call.
func (p *Publisher) publish(ctx, call context.Context, topic string, messages []*message.Message) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return ErrClosed
	}
	rows := message.Messages(messages)
	for i, msg := range messages {
		if msg == nil {
			return &MessageError{Index: i, Topic: topic, Err: fmt.Errorf("%w: it is nil", ErrInvalidMessage)}
		}
		row, of, err := p.row(call, topic, msg)
		if err != nil {
			return &MessageError{Index: i, UUID: msg.UUID, Topic: of, Err: fmt.Errorf("%w: %w", ErrInvalidMessage, err)}
		}
		if row != msg {
			if &rows[0] == &messages[0] {
				rows = slices.Clone(rows)
			}
			rows[i] = row
		}
	}
	if err := p.store(ctx, topic, rows); err != nil {
		return fmt.Errorf("cannot publish to the outbox: %w", explained(err, p.chosen))
	}
	return nil
}

var noteEnvelopes sync.Once

// row returns msg as it is stored, and its topic: msg itself, unless something of it must not be stored or must be added.
func (p *Publisher) row(call context.Context, topic string, msg *message.Message) (*message.Message, string, error) {
	row, of := msg, topic
	if inner, its := unwrapped(msg); inner != nil {
		row, of = inner, its
		noteEnvelopes.Do(func() {
			p.logger.Info("Messages come in the envelope of Watermill's forwarder and are stored as what is inside; remove its publisher; it is not needed here",
				watermill.LogFields{"topic": topic})
		})
	}
	if delivered(row) {
		row = withoutDelivery(row)
	}
	if p.cfg.Propagator != nil {
		own := &message.Message{UUID: row.UUID, Payload: row.Payload, Metadata: make(message.Metadata, len(row.Metadata)+2)}
		maps.Copy(own.Metadata, row.Metadata)
		capture(call, p.cfg.Propagator, msg, own)
		row = own
	}
	if err := p.check(of, row); err != nil {
		return nil, of, err
	}
	if of != topic {
		row.Metadata[KeyTopic] = of
	}
	return row, of, nil
}

type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// store inserts rows, all or none: what needs more than one statement gets a transaction when the caller has none. Then what the database refuses because of
// others is tried again.
func (p *Publisher) store(ctx context.Context, topic string, rows message.Messages) error {
	db, pool := p.db.(beginner)
	if !pool {
		return p.insert(ctx, p.db, topic, rows)
	}
	const tries, wait = 10, 5 * time.Millisecond
	for try := 1; ; try++ {
		var err error
		if len(rows) <= insertChunk && !p.cfg.Notify {
			err = p.insert(ctx, p.db, topic, rows)
		} else {
			err = p.storeTogether(ctx, db, topic, rows)
		}
		if err == nil || try == tries || !mayTryAgain(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(rand.N(wait * time.Duration(try))):
		}
	}
}

// mayTryAgain reports whether PostgreSQL refused a transaction because of others: a serialization failure, a deadlock.
func mayTryAgain(err error) bool {
	var s interface{ SQLState() string }
	return errors.As(err, &s) && (s.SQLState() == "40001" || s.SQLState() == "40P01")
}

func (p *Publisher) storeTogether(ctx context.Context, db beginner, topic string, rows message.Messages) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := p.insert(ctx, tx, topic, rows); err != nil {
		return err
	}
	return tx.Commit()
}

func (p *Publisher) insert(ctx context.Context, db Executor, topic string, rows message.Messages) error {
	// watermill-sql logs its parameters, so it gets no logger; it also takes its own topics to be table names.
	inner, err := wmsql.NewPublisher(boundExecutor{db: db, ctx: ctx}, wmsql.PublisherConfig{SchemaAdapter: ofTopic{p.adapter, topic}}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), insertChunk)
		if err := inner.Publish("outbox", rows[:n]...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	if p.cfg.Notify {
		return notify(ctx, db, p.cfg.Names)
	}
	return nil
}

// Close makes further Publish calls fail. It leaves the transaction alone.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// ofTopic stores messages under a topic that watermill-sql, which takes topics to be parts of table names, need not know.
type ofTopic struct {
	*adapter
	topic string
}

// InsertQuery implements wmsql.SchemaAdapter.
func (t ofTopic) InsertQuery(_ string, rows message.Messages) (wmsql.Query, error) {
	return t.adapter.InsertQuery(t.topic, rows)
}
