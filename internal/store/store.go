package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Store runs the statements of a dialect. It is safe for concurrent use; every method is one statement or one short transaction, and
// nothing stays open between calls.
type Store struct {
	db       retryingDB
	d        dialect.Dialect
	cfg      schema.Config
	t        dialect.Tables
	q        queries
	identity string
}

// Open checks that the tables are there in a version that this package knows, and returns a store on them. The caller closes db.
// The error wraps [schema.ErrSchema] when the tables are missing, too old or too new.
func Open(ctx context.Context, db *sql.DB, cfg schema.Config) (*Store, error) {
	m, err := schema.NewMigrator(db, cfg)
	if err != nil {
		return nil, err
	}
	identity, err := m.Check(ctx)
	if err != nil {
		return nil, err
	}
	cfg = m.Config()
	d, t := dialect.Named(string(cfg.Dialect)), dialect.TablesOf(cfg.Names.Schema, cfg.Names.Prefix)
	q := queriesOf(d, t)
	var name string
	switch err := db.QueryRowContext(ctx, q.missing).Scan(&name); {
	case err == nil:
		return nil, fmt.Errorf("%w: %s is missing, though its migration was applied; bring it back from a backup, or create it as \"outbox migrate print\" says", schema.ErrSchema, name)
	case !errors.Is(err, sql.ErrNoRows):
		return nil, wrap("look for the outbox tables", err)
	}
	if err := unobstructed(ctx, db, q); err != nil {
		return nil, err
	}
	return &Store{db: retryingDB{sqlx.NewDb(db, d.String()), d}, d: d, cfg: cfg, t: t, q: q, identity: identity}, nil
}

// Identity returns the random name that these tables got when they were created; with an event's number it is unique among all.
func (s *Store) Identity() string { return s.identity }

// Mark is the answer to the cheapest question that tells whether anything is new.
type Mark struct {
	Last   int64  // the last number that was given out, and never a later one; its transaction may be open still
	Server string // changes when the server restarts or is replaced
}

// Ask returns the current mark.
func (s *Store) Ask(ctx context.Context) (Mark, error) {
	var m Mark
	err := s.db.QueryRowContext(ctx, s.q.ask).Scan(&m.Last, &m.Server)
	return m, wrap("ask for news", err)
}

// Writer is a transaction that holds a write lock on the outbox and may commit events yet.
type Writer struct {
	Name string // of the transaction; that of a prepared one starts with "-1/" once the server was restarted
	XID  int64  // its transaction id; 0 while it has written nothing
}

// Writers returns the transactions that hold a write lock on the outbox, which every inserting transaction has taken before its
// first event got a number. Databases where events cannot commit out of order have none.
func (s *Store) Writers(ctx context.Context) ([]Writer, error) {
	if s.q.writers == "" {
		return nil, nil
	}
	return look(ctx, s, "list open writers", s.q.writers, func(rows *sql.Rows) (w Writer, err error) {
		return w, rows.Scan(&w.Name, &w.XID)
	})
}

// Range is a part of a slot to read: at most Limit events above After.
type Range struct {
	Slot  int
	After int64
	Limit int
}

// Late is a transaction that was open when writers were listed. All its events are above After.
type Late struct{ XID, After int64 }

// Filter says which events a group of forwarders serves. Empty lists mean all.
type Filter struct {
	Tenants []string `json:"tenants,omitempty"`
	Topics  []string `json:"topics,omitempty"`
}

func (s *Store) filterArgs(f Filter) (tenants, topics any) {
	if len(f.Tenants) > 0 {
		tenants = s.d.Strs(f.Tenants)
	}
	if len(f.Topics) > 0 {
		topics = s.d.Strs(f.Topics)
	}
	return tenants, topics
}

// Read returns pending events of every range, those of a slot in the order of their numbers. Payloads longer than inline bytes are left
// out, see [Store.Payload]. An event that f leaves out comes with its slot and number only, and an empty Topic.
//
// A read that sees what one of late has committed reads every range from that one's After, so that it sees all of it.
//
// Events are appended to into, which may be nil.
func (s *Store) Read(ctx context.Context, into []Event, ranges []Range, inline int, f Filter, late []Late) ([]Event, error) {
	slots, afters, limits := make([]int64, len(ranges)), make([]int64, len(ranges)), make([]int64, len(ranges))
	for i, r := range ranges {
		slots[i], afters[i], limits[i] = int64(r.Slot), r.After, int64(r.Limit)
	}
	tenants, topics := s.filterArgs(f)
	args := []any{s.d.Ints(slots), s.d.Ints(afters), s.d.Ints(limits), inline, tenants, topics}
	if s.q.writers != "" {
		xids, from := make([]int64, len(late)), make([]int64, len(late))
		for i, l := range late {
			xids[i], from[i] = l.XID, l.After
		}
		args = append(args, s.d.Ints(xids), s.d.Ints(from))
	}
	return s.events(ctx, into, "read pending events", s.q.read, args...)
}

// Events returns those of the events seqs that there are, in the order of their numbers, whatever became of them. Payloads longer than
// inline bytes are left out, see [Store.Payload].
func (s *Store) Events(ctx context.Context, seqs []int64, inline int) ([]Event, error) {
	return s.events(ctx, nil, "read events", s.q.events, s.d.Ints(seqs), inline)
}

func (s *Store) events(ctx context.Context, into []Event, what, query string, args ...any) (list []Event, err error) {
	err = retry(ctx, s.d, func() error {
		list, err = s.scanEvents(ctx, into, query, args)
		return err
	})
	return list, wrap(what, err)
}

func (s *Store) scanEvents(ctx context.Context, events []Event, query string, args []any) ([]Event, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var e Event
	into := append([]any{&e.Slot, &e.Seq}, e.scanner(s.d)...)
	for rows.Next() {
		e.Payload = nil
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// scanner returns the destinations of [eventColumns] and the payload.
func (e *Event) scanner(d dialect.Dialect) []any {
	return []any{text{&e.ID}, text{&e.TenantID}, text{&e.AggregateType}, text{&e.AggregateID}, text{&e.Topic}, d.TimeScanner(&e.OccurredAt),
		text{&e.SchemaID}, text{&e.SchemaVersion}, text{&e.Metadata}, text{&e.RoutingKey}, text{&e.RoutingConfig}, text{&e.RoutingVersion},
		text{&e.OrderingKey}, d.TimeScanner(&e.CreatedAt), payload{&e.Payload}, payload{&e.Payload}, &e.PayloadSize}
}

// payload scans one of the two columns of a payload into dst, and leaves it alone for NULL. An empty payload is not nil.
type payload struct{ dst *[]byte }

// Scan implements sql.Scanner.
func (p payload) Scan(v any) error {
	switch v := v.(type) {
	case string:
		*p.dst = []byte(v)
	case []byte:
		*p.dst = append([]byte{}, v...)
	case nil:
	default:
		return fmt.Errorf("a payload is a %T", v)
	}
	return nil
}

// text scans a text into dst; NULL is empty.
type text struct{ dst *string }

// Scan implements sql.Scanner.
func (t text) Scan(v any) error {
	switch v := v.(type) {
	case string:
		*t.dst = v
	case []byte:
		*t.dst = string(v)
	case nil:
		*t.dst = ""
	default:
		return fmt.Errorf("a text column holds a %T", v)
	}
	return nil
}

// Payload returns the payload of event seq; nil when it has none.
func (s *Store) Payload(ctx context.Context, seq int64) ([]byte, error) {
	var b []byte
	err := s.db.QueryRowContext(ctx, s.q.payload, seq).Scan(payload{&b}, payload{&b})
	return b, wrap(fmt.Sprintf("read the payload of event %d", seq), err)
}

// Due returns at most limit deliveries of slots whose time has come, slots in the order given, the longest overdue first. Each may be
// followed by up to run deliveries that are held behind it, in their order, with state [Held]; SQLite returns none of these.
func (s *Store) Due(ctx context.Context, slots []int, limit, run, inline int, f Filter) ([]Due, error) {
	tenants, topics := s.filterArgs(f)
	return s.deliveries(ctx, nil, "read due deliveries", s.q.due, s.ints(slots), limit, inline, tenants, topics, run)
}

// Held returns deliveries of ranges, those of a slot in the order of their numbers, that are held and not behind one of their key that waits
// or is dead: what they wait for is a destination, or something that operators paused. An empty destination means all; one that ends with :// all of
// that publisher, and with bare those that name no publisher too. An event that f leaves
// out has an empty Topic. Deliveries are appended to into, which may be nil.
func (s *Store) Held(ctx context.Context, into []Due, ranges []Range, limit, inline int, f Filter, destination string, bare bool) ([]Due, error) {
	slots, afters := make([]int64, len(ranges)), make([]int64, len(ranges))
	for i, r := range ranges {
		slots[i], afters[i] = int64(r.Slot), r.After
	}
	tenants, topics := s.filterArgs(f)
	return s.deliveries(ctx, into, "read held deliveries", s.q.held, s.d.Ints(slots), s.d.Ints(afters), limit, inline, tenants, topics, dialect.Null(destination), bare)
}

func (s *Store) deliveries(ctx context.Context, into []Due, what, query string, args ...any) (list []Due, err error) {
	err = retry(ctx, s.d, func() error {
		list, err = s.scanDeliveries(ctx, into, query, args)
		return err
	})
	return list, wrap(what, err)
}

func (s *Store) scanDeliveries(ctx context.Context, list []Due, query string, args []any) ([]Due, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var d Due
	var key sql.NullInt64
	into := append([]any{&d.Slot, &d.Seq, text{&d.Target}, text{&d.Destination}, text{(*string)(&d.State)}, &d.Attempts, &key, text{&d.Error}},
		d.Event.scanner(s.d)...)
	for rows.Next() {
		d.Event.Payload, d.KeyHash = nil, nil
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if key.Valid {
			hash := key.Int64
			d.KeyHash = &hash
		}
		d.Event.Slot, d.Event.Seq = d.Slot, d.Seq
		list = append(list, d)
	}
	return list, rows.Err()
}

// NextDue returns the time until the next delivery of slots is due, negative when one is overdue; false when none waits.
func (s *Store) NextDue(ctx context.Context, slots []int) (time.Duration, bool, error) {
	var seconds sql.NullFloat64
	err := s.db.QueryRowContext(ctx, s.q.nextDue, s.ints(slots)).Scan(&seconds)
	return time.Duration(seconds.Float64 * float64(time.Second)), seconds.Valid, wrap("ask when the next delivery is due", err)
}

// HeldKeys returns every ordering key of slots that unfinished deliveries hold back.
func (s *Store) HeldKeys(ctx context.Context, slots []int) (list []HeldKey, err error) {
	err = retry(ctx, s.d, func() error {
		list, err = s.heldKeys(ctx, s.db, s.q.blocked, s.ints(slots))
		return err
	})
	return list, err
}

func (s *Store) heldKeys(ctx context.Context, db queryer, query string, args ...any) ([]HeldKey, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, wrap("read held keys", err)
	}
	defer rows.Close()
	var list []HeldKey
	for rows.Next() {
		var k HeldKey
		if err := rows.Scan(&k.Slot, &k.Target, &k.KeyHash); err != nil {
			return nil, wrap("read held keys", err)
		}
		list = append(list, k)
	}
	return list, wrap("read held keys", rows.Err())
}

// Open tells whether any event that f lets through is pending or any of its deliveries is due.
func (s *Store) Open(ctx context.Context, f Filter) (bool, error) {
	tenants, topics := s.filterArgs(f)
	var open bool
	err := s.db.QueryRowContext(ctx, s.q.pending, tenants, topics).Scan(&open)
	return open, wrap("ask whether anything is pending", err)
}

func (s *Store) ints(slots []int) string {
	v := make([]int64, len(slots))
	for i, n := range slots {
		v[i] = int64(n)
	}
	return s.d.Ints(v)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

func asJSON(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(errors.Join(errors.New("rows of the outbox always encode"), err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
