package forwarder

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// ErrInvalidMessage is wrapped by the errors of messages that the outbox cannot store.
var ErrInvalidMessage = errors.New("invalid message")

// ErrPublisherClosed is returned by Publish after Close.
var ErrPublisherClosed = errors.New("publisher closed")

// MessageError is one message of a Publish call that was refused. None of the call's messages was stored.
type MessageError struct {
	Index int    // of the message in the call, from 0
	UUID  string // of the message
	Topic string
	Err   error
}

// Error names the message by its place and UUID, never by its payload.
func (e *MessageError) Error() string {
	return fmt.Sprintf("cannot publish message %d (uuid %.64q) to %.128q: %v", e.Index, e.UUID, e.Topic, e.Err)
}

// Unwrap returns the reason.
func (e *MessageError) Unwrap() error { return e.Err }

// Limits of what is stored, in bytes.
const (
	// DefaultMaxPayload is the default of PublisherConfig.MaxPayload.
	DefaultMaxPayload = 16 << 20
	// MaxText is the longest UUID, topic, tenant, aggregate type or id, schema id or version, routing key, routing version or
	// ordering key.
	MaxText = 1024
	// MaxMetadata is the longest metadata, keys and values together, and the longest routing config.
	MaxMetadata = 256 << 10

	insertChunk = 500 // messages an INSERT; keeps below every database's limit of parameters
)

// PublisherConfig says where and how messages are stored. The zero value stores in the table outbox of PostgreSQL.
type PublisherConfig struct {
	schema.AdapterConfig
	// Routes checks the routing configs that messages carry, with the policies and publishers it knows: a *router.Table or a *router.Live, that of
	// the forwarder. By default a config is checked for its size and for being a JSON object, and the forwarder finds the rest.
	Routes ConfigChecker
	// MaxPayload is the longest payload in bytes. Defaults to DefaultMaxPayload.
	MaxPayload int
	// Notify wakes subscribers that have SubscriberConfig.Listen when the transaction commits, by PostgreSQL's NOTIFY. It costs a round trip, and
	// more: transactions that notify commit one after the other, in all databases of the server. Polling finds an event within milliseconds without
	// it.
	Notify bool
	// Propagator stores the trace context of each message's own context in its metadata, for the forwarder and the consumers to go on with;
	// PublishContext stores that of its ctx for messages whose context has none. Nil stores none. [propagation.TraceContext] has W3C's headers.
	Propagator propagation.TextMapPropagator
}

// Publisher stores messages as events, inside the caller's transaction. It is a message.Publisher.
//
// The message's topic is the event's topic. Tenant, aggregate, routing and the other attributes are set on the message before, with
// the Set functions of package schema. Messages are not modified.
//
// A message that came out of an outbox may be published as it is: the headers that describe its delivery, such as [schema.KeyID], are left out, and
// its attributes (tenant, aggregate, schema, time) go on; see [schema.StripHeaders]. A message in the envelope of Watermill's own forwarder is stored
// as what is inside, under its own topic.
//
// A Publisher is as safe for concurrent use as the transaction it was made for; *sql.Tx is.
type Publisher struct {
	db     Executor
	cfg    PublisherConfig
	chosen schema.Dialect // empty when nobody has chosen one
	schema *schema.Adapter
	logger watermill.LoggerAdapter

	mu     sync.Mutex
	closed bool
}

var _ message.Publisher = (*Publisher)(nil)

var adapters sync.Map // schema.AdapterConfig -> *schema.Adapter: one publisher a transaction must be cheap

// NewPublisher returns a publisher for the life of tx, which may be a *sql.Tx, a *sqlx.Tx, the transaction of another library, see [Executor], or a
// pgx transaction in [Pgx]. With a *sql.DB each Publish call is a transaction of its own. The caller commits; a rollback leaves nothing. Constructing
// one does no I/O and costs about a microsecond. A nil logger logs nothing.
//
// The dialect defaults to what the driver of a *sql.DB or *sqlx.Tx tells, else to PostgreSQL.
func NewPublisher(tx Executor, cfg PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
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
	a, ok := adapters.Load(cfg.AdapterConfig)
	if !ok {
		made, err := schema.NewAdapter(cfg.AdapterConfig)
		if err != nil {
			return nil, fmt.Errorf("outbox publisher: %w", err)
		}
		a, _ = adapters.LoadOrStore(cfg.AdapterConfig, made)
	}
	return &Publisher{db: tx, cfg: cfg, chosen: chosen, schema: a.(*schema.Adapter), logger: logger}, nil
}

// Publish stores messages as events of topic, in their order, under the context of the first message. Either all of them are stored,
// given that the caller commits, or Publish returns an error; the caller then rolls back. A message that cannot be stored is reported
// as a [*MessageError] before anything is sent to the database. No messages is no error.
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
		return ErrPublisherClosed
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

// ConfigChecker tells what is wrong with a routing config that an event is to carry. It must be safe for concurrent use.
type ConfigChecker interface {
	CheckConfig(config string) error
}

// anyConfig takes every JSON object.
type anyConfig struct{}

func (anyConfig) CheckConfig(config string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(config), &object); err != nil {
		return fmt.Errorf("it is no JSON object: %w", err)
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
			p.logger.Info("Messages come in the envelope of Watermill's forwarder and are stored as what is inside; take its publisher off: it is not needed here",
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
		row.Metadata[schema.KeyTopic] = of
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
	inner, err := wmsql.NewPublisher(boundExecutor{db: db, ctx: ctx}, wmsql.PublisherConfig{SchemaAdapter: ofTopic{p.schema, topic}}, watermill.NopLogger{})
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

func (p *Publisher) check(topic string, msg *message.Message) error {
	if topic == "" {
		return errors.New("the topic is empty")
	}
	if len(msg.Payload) > p.cfg.MaxPayload {
		return fmt.Errorf("the payload has %d bytes, more than MaxPayload %d", len(msg.Payload), p.cfg.MaxPayload)
	}
	if err := checkText("topic", topic, MaxText); err != nil {
		return err
	}
	if err := checkText("UUID", msg.UUID, MaxText); err != nil {
		return err
	}
	size := 0
	for k, v := range msg.Metadata {
		limit := MaxMetadata
		if strings.HasPrefix(k, schema.MetadataPrefix) {
			if !schema.Settable(k) {
				return fmt.Errorf("metadata key %.64q: the prefix %s is reserved; set attributes with the Set functions of package schema, and name your own "+
					"keys otherwise; schema.StripHeaders removes what is left of another outbox", k, schema.MetadataPrefix)
			}
			if k != schema.KeyRoutingConfig {
				limit = MaxText
			}
		} else {
			size += len(k) + len(v)
		}
		if err := checkText("metadata key", k, MaxText); err != nil {
			return err
		}
		if err := checkText("metadata "+k, v, limit); err != nil {
			return err
		}
	}
	if text := msg.Metadata[schema.KeyOccurredAt]; text != "" {
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return fmt.Errorf("metadata %s is no RFC 3339 time; set it with schema.SetOccurredAt: %w", schema.KeyOccurredAt, err)
		}
	}
	if config := msg.Metadata[schema.KeyRoutingConfig]; config != "" {
		if err := p.cfg.Routes.CheckConfig(config); err != nil {
			return fmt.Errorf("routing config: %w", err)
		}
	}
	if size > MaxMetadata {
		return fmt.Errorf("the metadata has %d bytes, more than %d", size, MaxMetadata)
	}
	if k := p.cfg.OrderingMetadataKey; k != "" && len(msg.Metadata[k]) > MaxText {
		return fmt.Errorf("the ordering key, metadata %s, has %d bytes, more than %d", k, len(msg.Metadata[k]), MaxText)
	}
	return nil
}

func checkText(what, s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("the %.64s has %d bytes, more than %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("the %.64q is not valid UTF-8; encode it, as Base64 for one", what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("the %.64q contains a NUL byte, which databases do not store in text; encode it, as Base64 for one", what)
	}
	return nil
}

// ofTopic stores messages under a topic that watermill-sql, which takes topics to be parts of table names, need not know.
type ofTopic struct {
	*schema.Adapter
	topic string
}

// InsertQuery implements wmsql.SchemaAdapter.
func (t ofTopic) InsertQuery(_ string, rows message.Messages) (wmsql.Query, error) {
	return t.Adapter.InsertQuery(t.topic, rows)
}
