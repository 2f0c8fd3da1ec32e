package outbox

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/propagation"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config says where and how a [Publisher] stores messages. The zero value stores in the table outbox of PostgreSQL.
type Config struct {
	// Dialect of the database. Defaults to what the driver of a *sql.DB or a *sqlx.Tx tells, else to PostgreSQL.
	Dialect schema.Dialect
	// Names of the tables.
	Names schema.Names
	// OrderingMetadataKey names a metadata key of the application whose value is the ordering key of messages that have no aggregate. Empty by
	// default: such messages have no order.
	OrderingMetadataKey string
	// DefaultTenantID is the tenant of messages that name none. Empty by default.
	DefaultTenantID string
	// Routes checks the routing configs that messages carry, with the policies and publishers it knows: a *router.Table or a *router.Live, that of
	// the forwarder. By default a config is checked for its size and for being a JSON object, and the forwarder finds the rest.
	Routes ConfigChecker
	// MaxPayload is the longest payload in bytes. Defaults to DefaultMaxPayload.
	MaxPayload int
	// Notify wakes forwarders that have SubscriberConfig.Listen when the transaction commits, by PostgreSQL's NOTIFY. It costs a round trip, and
	// more: transactions that notify commit one after the other, in all databases of the server. Polling finds an event within milliseconds without
	// it.
	Notify bool
	// Propagator stores the trace context of each message's own context in its metadata, for the forwarder and the consumers to go on with;
	// PublishContext stores that of its ctx for messages whose context has none. Nil stores none. [propagation.TraceContext] has W3C's headers.
	Propagator propagation.TextMapPropagator
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
		return fmt.Errorf("it is not a JSON object: %w", err)
	}
	if object == nil {
		return errors.New("it is null, not a JSON object")
	}
	return nil
}
