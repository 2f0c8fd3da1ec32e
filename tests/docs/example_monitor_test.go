package docs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	printer "github.com/bento-outbox/watermill-outbox/adapters/console"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	_ "modernc.org/sqlite"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// docs:hooks
// measured returns a forwarder whose metrics are in registry.
func measured(db *sql.DB, registry *prometheus.Registry, broker message.Publisher) (*forwarder.Forwarder, error) {
	metrics, err := monitor.NewMetrics(registry)
	if err != nil {
		return nil, err
	}
	cfg := forwarder.Config{Subscriber: forwarder.SubscriberConfig{Hooks: metrics.Hooks()}}
	return forwarder.New(db, map[string]message.Publisher{"broker": broker}, cfg, nil)
}

// docs:end

// docs:watch
// watch serves what people and machines look at, until ctx ends.
func watch(ctx context.Context, db *sql.DB, registry *prometheus.Registry, f *forwarder.Forwarder, token string, logger watermill.LoggerAdapter) (http.Handler, error) {
	m, err := monitor.New(ctx, db, monitor.Config{Thresholds: monitor.Thresholds{BacklogWarning: 5_000}}, logger)
	if err != nil {
		return nil, err
	}
	go m.Watch(ctx) // a snapshot each 5 s, and alerts in the log
	if err := registry.Register(m.Collector()); err != nil {
		return nil, err
	}
	page, err := statuspage.New(m, statuspage.Config{Token: token, Hosts: []string{"outbox.example.com"}}, logger)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/healthz", monitor.Live())
	mux.Handle("/readyz", monitor.Ready(2*time.Second, m.Database(), monitor.Check{Name: "forwarder", Run: f.Ready}))
	mux.Handle("/", page)
	return mux, nil
}

// docs:end

// docs:serve
// serve answers at l until ctx ends. Whoever can reach it can neither keep connections busy for long nor take all that the process may have.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // more than monitor.Config.Timeout
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(netutil.LimitListener(l, 64)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// docs:end

// A forwarder with all that can be looked at.
func Example_monitor() {
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
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('orders', '{}'), ('orders', '{}')`)
	try(err)

	registry := prometheus.NewRegistry()
	f, err := measured(db, registry, printer.NewPublisher(new(strings.Builder), printer.Config{}, nil))
	try(err)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()

	handler, err := watch(ctx, db, registry, f, "", nil)
	try(err)
	for open := true; open || f.Ready(ctx) != nil; {
		<-time.After(10 * time.Millisecond)
		try(db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM outbox_pending)`).Scan(&open))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	try(err)
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, handler) }()
	for _, path := range []string{"/healthz", "/readyz", "/", "/metrics"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String()+path, nil)
		try(err)
		response, err := http.DefaultClient.Do(request)
		try(err)
		body, err := io.ReadAll(response.Body)
		try(errors.Join(err, response.Body.Close()))
		fmt.Println(path, response.StatusCode)
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, "outbox_attempts_total") || strings.HasPrefix(line, "outbox_up") {
				fmt.Print(line)
			}
		}
	}
	cancel()
	try(errors.Join(<-ended, <-served))
	// Output:
	// /healthz 200
	// /readyz 200
	// / 200
	// /metrics 200
	// outbox_attempts_total{destination="orders",result="delivered"} 2
	// outbox_attempts_total{destination="orders",result="failed"} 0
	// outbox_attempts_total{destination="orders",result="unavailable"} 0
	// outbox_up 1
}

func try(err error) {
	if err != nil {
		panic(err)
	}
}
