package monitor_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// A snapshot counts what waits, and says what is wrong and what to do about it.
func ExampleMonitor_Take() {
	ctx := context.Background()
	db, remove := outbox(ctx)
	defer remove()
	m, err := monitor.New(ctx, db, monitor.Config{Thresholds: monitor.Thresholds{BacklogWarning: 2}}, nil)
	try(err)
	s, err := m.Take(ctx)
	try(err)
	fmt.Println("pending:", s.Totals.Pending)
	for _, alert := range s.Alerts() {
		fmt.Printf("%s: %s\n    %s\n", alert.Level, alert.Message, alert.Action)
	}
	// Output:
	// pending: 3
	// critical: No forwarder is alive; 3 events and deliveries wait.
	//     Start outbox run. If it is running, its log says why it cannot reach the database or join its group.
	// warning: 3 events and deliveries wait to go: at or above 2.
	//     See the bottlenecks: they say what holds it up.
}

// Metrics plug into the forwarder of the same process.
func ExampleMetrics_Hooks() {
	registry := prometheus.NewRegistry()
	metrics, err := monitor.NewMetrics(registry)
	try(err)
	cfg := forwarder.Config{Subscriber: forwarder.SubscriberConfig{Hooks: metrics.Hooks()}}

	cfg.Subscriber.Hooks.Died("kafka://orders") // as the forwarder does
	families, err := registry.Gather()
	try(err)
	for _, f := range families {
		if f.GetName() == "outbox_dead_total" {
			fmt.Println(f.GetName(), f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	// Output:
	// outbox_dead_total 1
}

// A process is ready if all of its checks succeed.
func ExampleReady() {
	ctx := context.Background()
	db, remove := outbox(ctx)
	defer remove()
	m, err := monitor.New(ctx, db, monitor.Config{}, nil)
	try(err)
	handler := monitor.Ready(2*time.Second, m.Database()) // and monitor.Check{Name: "forwarder", Run: f.Ready}

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// 200 {"ready":true,"checks":{"database":"ok"}}
}

// outbox returns a database with three events.
func outbox(ctx context.Context) (db *sql.DB, remove func()) {
	dir, err := os.MkdirTemp("", "outbox")
	try(err)
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=journal_mode(WAL)&_txlock=immediate")
	try(err)
	migrator, err := schema.NewMigrator(db, schema.Config{})
	try(err)
	_, err = migrator.Up(ctx)
	try(err)
	_, err = db.ExecContext(ctx, `INSERT INTO outbox (topic, payload) VALUES ('orders', '1'), ('orders', '2'), ('orders', '3')`)
	try(err)
	return db, func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
}

func try(err error) {
	if err != nil {
		panic(err)
	}
}
