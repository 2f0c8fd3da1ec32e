package outbox

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/propagation"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config configures a [Publisher]. The zero value stores events in the table outbox on PostgreSQL.
type Config struct {
	// Dialect of the database. Defaults to what the driver of a *sql.DB or a *sqlx.Tx tells, else to PostgreSQL.
	Dialect schema.Dialect
	// Names of the tables.
	Names schema.Names
	// OrderingMetadataKey is a metadata key of the application whose value is the ordering key of messages without an aggregate. Defaults to none:
	// such messages are unordered.
	OrderingMetadataKey string
	// DefaultTenantID is the tenant of messages without one. Defaults to "".
	DefaultTenantID string
	// Routes validates the routing configs that messages carry; set it to the *router.Table or *router.Live of the forwarder. Without it Publish only
	// checks that a config is a JSON object of bounded size, and an invalid one ends as a dead letter. Routing keys are not checked.
	Routes ConfigChecker
	// MaxPayload limits the payload, in bytes. Defaults to DefaultMaxPayload.
	MaxPayload int
	// Notify wakes forwarders with forwarder.SubscriberConfig.Listen when the transaction commits, by PostgreSQL's NOTIFY. It costs a round
	// trip, and transactions that notify commit one after the other, across all databases of the server. Polling finds events within milliseconds
	// without it.
	Notify bool
	// Propagator stores the trace context of each message's context with the event, so that the forwarder and consumers continue the trace;
	// PublishContext falls back to that of its ctx. Nil stores none. [propagation.TraceContext] writes W3C headers.
	Propagator propagation.TextMapPropagator
}

// ConfigChecker validates the routing config of an event. It must be safe for concurrent use.
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
