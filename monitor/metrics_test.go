package monitor_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// gather returns the values of a registry: counters, gauges, and the number of observations of histograms.
func gather(t testing.TB, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := monitor.NewMetrics(reg)
	require.NoError(t, err)
	h := m.Hooks()
	attempt := forwarder.Attempt{Destination: "kafka://a", Number: 1, Took: time.Millisecond, Lag: time.Second, Counted: true}
	h.Published(attempt)
	attempt.Number, attempt.Err = 2, errors.New("no")
	h.Published(attempt)
	attempt.Number, attempt.Err, attempt.Counted = 3, errors.New("away"), false
	h.Published(attempt)
	h.Died("kafka://a")
	h.Breaker("kafka://a", true)
	h.Breaker("kafka://a", true)
	h.Breaker("kafka://b", true)
	h.Breaker("kafka://b", false)
	h.Breaker("kafka://b", false)
	h.Breaker("redis://", true)
	h.Breaker("redis://", false)
	h.Read(7, time.Millisecond)
	h.Settled(5, time.Millisecond)
	h.Slots(64)
	h.Slots(32)
	require.Equal(t, map[string]float64{
		"outbox_attempts_total{destination=kafka://a,result=delivered}":   1,
		"outbox_attempts_total{destination=kafka://a,result=failed}":      1,
		"outbox_attempts_total{destination=kafka://a,result=unavailable}": 1,
		"outbox_retries_total{destination=kafka://a}":                     1,
		"outbox_dead_total{destination=kafka://a}":                        1,
		"outbox_publish_seconds{destination=kafka://a}":                   3,
		"outbox_lag_seconds{destination=kafka://a}":                       1,
		"outbox_breaker_open{destination=kafka://a}":                      1,
		"outbox_breaker_open{destination=redis://}":                       0,
		"outbox_read_events_total":                                        7,
		"outbox_read_seconds":                                             1,
		"outbox_settled_events_total":                                     5,
		"outbox_settle_seconds":                                           1,
		"outbox_slots_owned":                                              32,
	}, gather(t, reg))

	_, err = monitor.NewMetrics(reg)
	require.ErrorContains(t, err, "duplicate")
}

// Destinations come with events. Whoever makes them up fills no memory.
func TestMetricsNameSoManyDestinations(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := monitor.NewMetrics(reg)
	require.NoError(t, err)
	h := m.Hooks()
	for i := range 1000 {
		h.Published(forwarder.Attempt{Destination: fmt.Sprint("d", i), Number: 1, Counted: true})
	}
	h.Published(forwarder.Attempt{Destination: "not\xff text", Number: 1, Counted: true})
	values, named := gather(t, reg), 0
	for name := range values {
		if strings.HasPrefix(name, "outbox_dead_total") {
			named++
		}
	}
	require.Equal(t, 201, named)
	require.Equal(t, 801.0, values["outbox_attempts_total{destination=(others),result=delivered}"])
}

// What a scrape measures does not depend on how long names are, nor on how many destinations events make up.
func TestScrapeIsBounded(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		reg := prometheus.NewRegistry()
		m, err := monitor.NewMetrics(reg)
		require.NoError(t, err)
		watch, st := open(t, db, monitor.Config{Top: monitor.MaxLabelValues}), storeOf(t, db)
		require.NoError(t, reg.Register(watch.Collector()))
		h := m.Hooks()
		long := strings.Repeat("n", 900)
		for i := range 300 {
			name := fmt.Sprint("kafka://", long, i)
			h.Published(forwarder.Attempt{Destination: name, Number: 1, Counted: true})
			h.Died(name + strings.Repeat("x", 1_000_000*(i%2)))
			h.Breaker(name, true)
			require.NoError(t, st.Pause(ctx, store.Unreachable, name, ""))
			tenant, topic := fmt.Sprint(long, i, "tenant"), fmt.Sprint(long, i, "topic")
			execute(t, db, fmt.Sprintf(`INSERT INTO outbox (tenant_id, topic, payload) VALUES ('%s', '%s', '1')`, tenant, topic))
		}
		values := map[string]map[string]bool{}
		families, err := reg.Gather()
		require.NoError(t, err)
		var text bytes.Buffer
		for _, f := range families {
			_, err := expfmt.MetricFamilyToText(&text, f)
			require.NoError(t, err)
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					key := f.GetName() + " " + l.GetName()
					if values[key] == nil {
						values[key] = map[string]bool{}
					}
					values[key][l.GetValue()] = true
					require.LessOrEqual(t, len(l.GetValue()), monitor.MaxLabelLength)
				}
			}
		}
		for name, set := range values {
			require.LessOrEqual(t, len(set), monitor.MaxLabelValues+1, name)
		}
		for _, name := range []string{
			"outbox_dead_total destination", "outbox_breaker_open destination", "outbox_unreachable destination", "outbox_tenant_events tenant", "outbox_topic_events topic",
		} {
			require.Len(t, values[name], monitor.MaxLabelValues+1, name)
		}
		require.Less(t, text.Len(), 2_000_000)
		t.Logf("a scrape has %d bytes", text.Len())
		for i := range 300 {
			h.Breaker(fmt.Sprint("kafka://", long, i), false)
		}
		got := gather(t, reg)
		for name, value := range got {
			require.False(t, strings.HasPrefix(name, "outbox_breaker_open") && value != 0, name)
		}
	})
}

func BenchmarkPublished(b *testing.B) {
	m, err := monitor.NewMetrics(prometheus.NewRegistry())
	require.NoError(b, err)
	h := m.Hooks()
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("kafka://topic", i))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			h.Published(forwarder.Attempt{Destination: names[i%10], Number: 1, Took: 300 * time.Microsecond, Lag: 5 * time.Millisecond, Counted: true})
		}
	})
}

// exported feeds all metrics, and returns a registry that has every one of them.
func exported(t testing.TB, db *sql.DB) *prometheus.Registry {
	t.Helper()
	ctx := context.Background()
	m, st := open(t, db, monitor.Config{}), storeOf(t, db)
	execute(t, db, `INSERT INTO outbox (tenant_id, topic, payload) VALUES ('a', 'orders', '1'), ('b', 'orders', '1')`, `DELETE FROM outbox_pending WHERE seq = 2`,
		`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, 'kafka://x', 'dead' FROM outbox WHERE seq = 2`)
	require.NoError(t, st.Pause(ctx, store.Unreachable, "kafka://x", ""))
	require.NoError(t, st.Pause(ctx, store.PausedTenant, "a", ""))
	require.NoError(t, st.Join(ctx, "g", "me", store.Filter{}, time.Hour))
	take(t, m)
	begin := time.Now()
	await.That(t, func() bool { return time.Since(begin) > 60*time.Millisecond })
	take(t, m) // has rates
	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(m.Collector()))
	metrics, err := monitor.NewMetrics(reg)
	require.NoError(t, err)
	h := metrics.Hooks()
	h.Published(forwarder.Attempt{Destination: "kafka://x", Number: 1, Counted: true})
	h.Breaker("kafka://", true)
	return reg
}

func TestCollector(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		reg := exported(t, db)
		values := gather(t, reg)
		for name, want := range map[string]float64{
			"outbox_up":                      1,
			"outbox_events{state=pending}":   1,
			"outbox_events{state=dead}":      1,
			"outbox_events_span{state=dead}": 1,
			"outbox_destination_deliveries{destination=kafka://x,state=dead}": 1,
			"outbox_tenant_events{state=pending,tenant=a}":                    1,
			"outbox_tenant_events{state=dead,tenant=b}":                       1,
			"outbox_topic_events{state=pending,topic=orders}":                 1,
			"outbox_inserted_events_total":                                    2,
			"outbox_forwarders{state=alive}":                                  1,
			"outbox_paused{kind=tenant}":                                      1,
			"outbox_paused{kind=key}":                                         0,
			"outbox_unreachable{destination=kafka://x}":                       1,
			"outbox_alert{level=warning,rule=dead_letters}":                   1,
			"outbox_alert{level=warning,rule=unreachable}":                    1,
			"outbox_snapshot_exact":                                           1,
			"outbox_snapshot_failures_total":                                  0,
		} {
			got, there := values[name]
			require.True(t, there, name)
			require.Equal(t, want, got, name)
		}
	})
}

func TestCollectorWithoutDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	m := open(t, db, monitor.Config{})
	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(m.Collector()))
	require.NoError(t, db.Close())
	values := gather(t, reg)
	require.Contains(t, values, "outbox_up")
	require.Zero(t, values["outbox_up"])
	require.Equal(t, 1.0, values["outbox_snapshot_failures_total"])
	require.NotContains(t, values, "outbox_events{state=pending}")
	require.Equal(t, 1.0, gather(t, reg)["outbox_snapshot_failures_total"], "the database is asked once an interval")
}
