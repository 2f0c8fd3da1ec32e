package middleware_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// failsOnce is a destination that fails the first message.
type failsOnce struct {
	fault
	calls atomic.Int64
}

func (f *failsOnce) Publish(_ string, msgs ...*message.Message) error {
	if f.calls.Add(1) == 1 {
		return f.fault(msgs[0].Context())
	}
	return nil
}
func (f *failsOnce) Close() error { return nil }

// TestAroundAForwarder puts each middleware of Watermill around a forwarder whose destination fails once, and compares with docs/middlewares.md.
func TestAroundAForwarder(t *testing.T) {
	t.Parallel()
	list := watermills
	list = append(list, watermillMiddleware{"PoisonQueueWithFilter", returns, func(poison message.Publisher) message.HandlerMiddleware {
		queue, err := wm.PoisonQueueWithFilter(poison, "poison", func(error) bool { return true })
		if err != nil {
			panic(err)
		}
		return queue
	}}, watermillMiddleware{"metrics.NewRouterMiddleware", returns, func(message.Publisher) message.HandlerMiddleware {
		return metrics.NewPrometheusMetricsBuilder(prometheus.NewRegistry(), "", "").NewRouterMiddleware().Middleware
	}})
	documented := map[string][]string{}
	for _, row := range rows(t, "## Around a forwarder") {
		documented[strings.Trim(row[0], "`")] = row
	}
	require.Len(t, documented, len(list))
	for _, m := range list {
		row := documented[m.name]
		require.NotNil(t, row, m.name)
		for _, position := range []string{"before AddTo", "after AddTo"} {
			t.Run(m.name+" "+position, func(t *testing.T) {
				t.Parallel()
				testdb.Each(t, func(t *testing.T, db *sql.DB) {
					got, failures := aroundAForwarder(t, db, m, position)
					require.Equal(t, row[2], got)
					switch row[1] {
					case "useless":
						require.Zero(t, failures, "it sees failures")
					case "safe", "harmful":
					default:
						t.Fatalf("what is %q?", row[1])
					}
				})
			})
		}
	}
}

// aroundAForwarder returns what became of an event, and how many failures the middleware has seen.
func aroundAForwarder(t *testing.T, db *sql.DB, m watermillMiddleware, position string) (outcome string, failures int64) {
	t.Helper()
	outbox := openOutbox(t, db)
	to, log, poisoned := &failsOnce{fault: m.fault}, watermill.NewCaptureLogger(), &counter{}
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": to}, forwarder.Config{}, log)
	require.NoError(t, err)
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: await.Patience}, watermill.NopLogger{})
	require.NoError(t, err)
	var seen atomic.Int64
	probe := func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			produced, err := next(msg)
			if err != nil || len(produced) > 0 {
				seen.Add(1)
			}
			return produced, err
		}
	}
	mws := []message.HandlerMiddleware{m.make(counting{discard{}, poisoned}), probe}
	if position == "before AddTo" {
		r.AddMiddleware(mws...)
		mws = nil
	}
	f.AddTo(r).AddMiddleware(mws...)
	stopped := run(t, r)
	require.NoError(t, outbox.pub.Publish("orders", message.NewMessage("1", []byte("{}"))))
	var status string
	await.That(t, func() bool {
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT status FROM outbox_events`).Scan(&status))
		return status == "SENT" || status == "SKIPPED" || status == "DEAD" || slices.ContainsFunc(log.Captured()[watermill.ErrorLogLevel],
			func(m watermill.CapturedMessage) bool { return m.Msg == "A retry was not handled and stays due" })
	})
	require.NoError(t, r.Close())
	require.NoError(t, <-stopped)
	require.NoError(t, f.Close())
	require.Empty(t, poisoned.all())
	what := map[string]string{"SENT": "sent", "FAILED": "due"}[status]
	require.NotEmpty(t, what, status)
	return fmt.Sprintf("%s after %d %s", what, to.calls.Load(), map[bool]string{true: "attempt", false: "attempts"}[to.calls.Load() == 1]), seen.Load()
}
