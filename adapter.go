package outbox

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
	"github.com/bento-outbox/watermill-outbox/schema"
)

// adapterConfig is the part of a Config that statements depend on.
type adapterConfig struct {
	dialect                      schema.Dialect
	names                        schema.Names
	orderingKey, defaultTenantID string
}

// adapter is the watermill-sql SchemaAdapter of the outbox: a sql.Publisher with it inserts events. It publishes only. It is immutable and safe for
// concurrent use.
type adapter struct {
	cfg adapterConfig
	t   dialect.Tables

	mu      sync.RWMutex
	inserts map[int]string // by number of rows
}

var _ sql.SchemaAdapter = (*adapter)(nil)

func newAdapter(cfg adapterConfig) (*adapter, error) {
	if cfg.dialect == "" {
		cfg.dialect = schema.PostgreSQL
	}
	if err := (schema.Config{Dialect: cfg.dialect, Names: cfg.names}).Validate(); err != nil {
		return nil, err
	}
	if cfg.dialect == schema.SQLite {
		cfg.names.Schema = ""
	}
	return &adapter{cfg: cfg, t: dialect.TablesOf(cfg.names.Schema, cfg.names.Prefix), inserts: map[int]string{}}, nil
}

// InsertQuery returns the statement that stores msgs as events of topic, in their order. A message may say its own topic under
// [KeyTopic]. Messages are not modified.
func (a *adapter) InsertQuery(topic string, msgs message.Messages) (sql.Query, error) {
	if len(msgs) == 0 {
		return sql.Query{}, errors.New("no messages to insert")
	}
	timeOf := dialect.Named(string(a.cfg.dialect)).Time
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
			tenant = a.cfg.defaultTenantID
		}
		text, raw := payloadColumns(msg.Payload)
		args = append(args, msg.UUID, tenant, dialect.Null(md[KeyAggregateType]), dialect.Null(md[KeyAggregateID]), t, timeOf(occurred),
			dialect.Null(md[KeySchemaID]), dialect.Null(md[KeySchemaVersion]), text, raw, own, dialect.Null(md[KeyRoutingKey]), dialect.Null(md[KeyRoutingConfig]),
			dialect.Null(md[KeyRoutingVersion]), ordering)
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

func (a *adapter) insert(n int) string {
	a.mu.RLock()
	query, ok := a.inserts[n]
	a.mu.RUnlock()
	if !ok {
		query = insertPostgres(a.t.Outbox, n)
		if a.cfg.dialect == schema.SQLite {
			query = insertSQLite(a.t.Outbox, n)
		}
		a.mu.Lock()
		a.inserts[n] = query
		a.mu.Unlock()
	}
	return query
}

// ownMetadata returns the application's metadata as JSON and the ordering key; nil where there is none.
func (a *adapter) ownMetadata(md message.Metadata) (own, ordering any, err error) {
	if k := a.cfg.orderingKey; k != "" && md[KeyAggregateID] == "" {
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
func (a *adapter) SelectQuery(string, string, sql.OffsetsAdapter) sql.Query { return sql.Query{} }

// UnmarshalMessage fails: events are read by the forwarder, not by watermill-sql's subscriber.
func (a *adapter) UnmarshalMessage(sql.Scanner) (sql.Row, error) {
	return sql.Row{}, errors.New("the outbox is read by its forwarder; it cannot be subscribed to here")
}

// SchemaInitializingQueries returns nothing: the tables are made by [schema.Migrator].
func (a *adapter) SchemaInitializingQueries(string) []sql.Query { return nil }

// SubscribeIsolationLevel returns the default level.
func (a *adapter) SubscribeIsolationLevel() stdsql.IsolationLevel { return stdsql.LevelDefault }
