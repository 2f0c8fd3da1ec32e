package docs_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// docs:trace-publish
// place stores an order and its event in one transaction, and the trace context of ctx with the event.
func place(ctx context.Context, db *sql.DB, dialect schema.Dialect) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id) VALUES (7)`); err != nil {
		return err
	}
	publisher, err := outbox.NewPublisher(tx, outbox.Config{Dialect: dialect, Propagator: propagation.TraceContext{}}, nil)
	if err != nil {
		return err
	}
	msg := message.NewMessageWithContext(ctx, watermill.NewUUID(), []byte(`{"id":7}`))
	if err := publisher.Publish("orders.placed", msg); err != nil {
		return err
	}
	return tx.Commit()
}

// docs:end

// docs:trace-forward
// traced makes a forwarder whose spans go to provider.
func traced(db *sql.DB, broker message.Publisher, provider trace.TracerProvider) (*forwarder.Forwarder, error) {
	return forwarder.New(db, map[string]message.Publisher{"broker": broker}, forwarder.Config{TracerProvider: provider}, nil)
}

// docs:end

// docs:trace-consume
// consumer makes a Router with a span for each message that it handles, below that of the attempt to publish it.
func consumer(broker message.Subscriber, provider trace.TracerProvider, handle message.NoPublishHandlerFunc) (*message.Router, error) {
	r, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return nil, err
	}
	r.AddMiddleware(middleware.Trace(middleware.TraceConfig{TracerProvider: provider}))
	r.AddConsumerHandler("mail", "orders.placed", broker, handle)
	return r, nil
}

// docs:end

// One trace from the request to the consumer.
func Example_tracing() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "outbox")
	try(err)
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	try(err)
	defer db.Close()
	migrator, err := schema.NewMigrator(db, schema.Config{})
	try(err)
	_, err = migrator.Up(ctx)
	try(err)
	_, err = db.ExecContext(ctx, `CREATE TABLE orders (id INTEGER)`)
	try(err)

	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	request, span := provider.Tracer("shop").Start(ctx, "POST /orders")
	try(place(request, db, schema.SQLite))
	span.End()

	broker := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
	f, err := traced(db, broker, provider)
	try(err)
	try(f.Drain(ctx))
	handled := make(chan struct{})
	r, err := consumer(broker, provider, func(*message.Message) error {
		close(handled)
		return nil
	})
	try(err)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-handled
	try(r.Close())
	try(<-ended)

	children := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID() == span.SpanContext().TraceID() {
			children[s.Parent.SpanID()] = s
		}
	}
	indent := ""
	for s, ok := children[trace.SpanID{}]; ok; s, ok = children[s.SpanContext.SpanID()] {
		fmt.Println(indent + s.Name)
		indent += "- "
	}
	// Output:
	// POST /orders
	// - route orders.placed
	// - - publish orders.placed
	// - - - process orders.placed
}
