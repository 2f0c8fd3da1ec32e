package schema

import (
	"bytes"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// AdapterConfig says where and how messages become events.
type AdapterConfig struct {
	// Config of the tables. Dialect defaults to PostgreSQL.
	Config
	// OrderingMetadataKey names a metadata key of the application whose value is the ordering key of messages that have no
	// aggregate. Empty by default: such messages have no order.
	OrderingMetadataKey string
	// DefaultTenantID is the tenant of messages that name none. Empty by default.
	DefaultTenantID string
}

// Adapter is the watermill-sql SchemaAdapter of the outbox: a sql.Publisher with it inserts events. It can publish only; reading is
// the forwarder's. It is immutable and safe for concurrent use.
type Adapter struct {
	cfg AdapterConfig
	t   dialect.Tables

	mu      sync.RWMutex
	inserts map[int]string // by number of rows
}

var _ sql.SchemaAdapter = (*Adapter)(nil)

// NewAdapter returns an adapter for the tables that cfg names.
func NewAdapter(cfg AdapterConfig) (*Adapter, error) {
	if cfg.Dialect == "" {
		cfg.Dialect = PostgreSQL
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Dialect == SQLite {
		cfg.Names.Schema = ""
	}
	return &Adapter{cfg: cfg, t: dialect.TablesOf(cfg.Names.Schema, cfg.Names.Prefix), inserts: map[int]string{}}, nil
}

// InsertQuery returns the statement that stores msgs as events of topic, in their order. A message may say its own topic under
// [KeyTopic]. Messages are not modified.
func (a *Adapter) InsertQuery(topic string, msgs message.Messages) (sql.Query, error) {
	if len(msgs) == 0 {
		return sql.Query{}, errors.New("no messages to insert")
	}
	timeOf := dialect.Named(string(a.cfg.Dialect)).Time
	args := make([]any, 0, insertColumns*len(msgs))
	for _, msg := range msgs {
		md := msg.Metadata
		own, ordering, err := a.ownMetadata(md)
		if err != nil {
			return sql.Query{}, err
		}
		occurred, err := occurredAt(md[KeyOccurredAt])
		if err != nil {
			return sql.Query{}, err
		}
		t := topic
		if md[KeyTopic] != "" {
			t = md[KeyTopic]
		}
		tenant := md[KeyTenantID]
		if tenant == "" {
			tenant = a.cfg.DefaultTenantID
		}
		text, raw := payloadColumns(msg.Payload)
		args = append(args, msg.UUID, tenant, dialect.Null(md[KeyAggregateType]), dialect.Null(md[KeyAggregateID]), t, timeOf(occurred),
			dialect.Null(md[KeySchemaID]), dialect.Null(md[KeySchemaVersion]), text, raw, own, dialect.Null(md[KeyRoutingKey]), dialect.Null(md[KeyRoutingConfig]),
			dialect.Null(md[KeyRoutingVer]), ordering)
	}
	return sql.Query{Query: a.insert(len(msgs)), Args: args}, nil
}

// payloadColumns returns what is stored as payload and as payload_bytes: text where p is text that every database stores, so that SQL can read
// it. Neither is set for a message without a payload. What looks like PostgreSQL's text for bytes is taken for that by its table.
func payloadColumns(p []byte) (text, raw any) {
	switch {
	case p == nil:
		return nil, nil
	case utf8.Valid(p) && bytes.IndexByte(p, 0) < 0 && !bytes.HasPrefix(p, []byte(`\x`)):
		return string(p), nil
	}
	return nil, p
}

func (a *Adapter) insert(n int) string {
	a.mu.RLock()
	query, ok := a.inserts[n]
	a.mu.RUnlock()
	if !ok {
		query = insertPostgres(a.t.Outbox, n)
		if a.cfg.Dialect == SQLite {
			query = insertSQLite(a.t.Outbox, n)
		}
		a.mu.Lock()
		a.inserts[n] = query
		a.mu.Unlock()
	}
	return query
}

// ownMetadata returns the application's metadata as JSON and the ordering key; nil where there is none.
func (a *Adapter) ownMetadata(md message.Metadata) (own, ordering any, err error) {
	if k := a.cfg.OrderingMetadataKey; k != "" && md[KeyAggregateID] == "" {
		ordering = dialect.Null(md[k])
	}
	var keys []string
	for k := range md {
		if !strings.HasPrefix(k, MetadataPrefix) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, ordering, nil
	}
	slices.Sort(keys)
	b := make([]byte, 0, 256)
	for i, k := range keys {
		b = append(b, "{,"[min(i, 1)])
		if b, err = appendText(b, k); err != nil {
			return nil, nil, err
		}
		if b, err = appendText(append(b, ':'), md[k]); err != nil {
			return nil, nil, err
		}
	}
	return string(append(b, '}')), ordering, nil
}

// appendText appends s as a JSON string. One of plain characters is its own; encoding/json, which does the others, took a tenth of the time of an
// event's insertion in the application's process.
func appendText(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				return nil, fmt.Errorf("metadata: %w", err)
			}
			return append(b, text...), nil
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

func occurredAt(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("metadata %s is no RFC 3339 time; set it with SetOccurredAt: %w", KeyOccurredAt, err)
	}
	return t, nil
}

// SelectQuery returns nothing: events are read by the forwarder, not by watermill-sql's subscriber.
func (a *Adapter) SelectQuery(string, string, sql.OffsetsAdapter) sql.Query { return sql.Query{} }

// UnmarshalMessage fails: events are read by the forwarder, not by watermill-sql's subscriber.
func (a *Adapter) UnmarshalMessage(sql.Scanner) (sql.Row, error) {
	return sql.Row{}, errors.New("the outbox is read by its forwarder; use forwarder.NewSubscriber")
}

// SchemaInitializingQueries returns nothing: the tables are made by [Migrator].
func (a *Adapter) SchemaInitializingQueries(string) []sql.Query { return nil }

// SubscribeIsolationLevel returns the default level.
func (a *Adapter) SubscribeIsolationLevel() stdsql.IsolationLevel { return stdsql.LevelDefault }
