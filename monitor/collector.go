package monitor

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// collector exports what is in the database. Every process that has one exports the same: take the maximum, not the sum, over processes.
type collector struct{ m *Monitor }

// Collector returns a Prometheus collector of the recent snapshot: however often it is scraped, the database is asked once an interval.
// When the database does not answer, outbox_up is 0 and what is in the database is left out.
func (m *Monitor) Collector() prometheus.Collector { return collector{m} }

// descs are all that a collector exports.
var descs []*prometheus.Desc

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	descs = append(descs, d)
	return d
}

var (
	upDesc          = desc("outbox_up", "1 when the database answered, else 0.")
	failuresDesc    = desc("outbox_snapshot_failures_total", "Snapshots that could not be taken.")
	ageDesc         = desc("outbox_snapshot_age_seconds", "Age of the snapshot that is exported.")
	exactDesc       = desc("outbox_snapshot_exact", "0 when some state has more than the 10,000 that are counted, else 1.")
	openDesc        = desc("outbox_events", "Events that are pending, and deliveries that are waiting, held, dead or skipped, counted up to 10,000 each.", "state")
	spanDesc        = desc("outbox_events_span", "As outbox_events; for a state with more than 10,000, the distance between the first and the last of its event numbers.", "state")
	destinationDesc = desc("outbox_destination_deliveries", "Deliveries of a destination by state.", "destination", "state")
	tenantDesc      = desc("outbox_tenant_events", "Events and deliveries of a tenant by state.", "tenant", "state")
	topicDesc       = desc("outbox_topic_events", "Events and deliveries of a topic by state.", "topic", "state")
	oldestDesc      = desc("outbox_oldest_age_seconds", "Age of the oldest event that is pending, or delivery that is held.")
	insertedDesc    = desc("outbox_inserted_events_total", "Event numbers that were given out, those of rolled back transactions too.")
	inDesc          = desc("outbox_in_events_per_second", "Events inserted a second, between the last two snapshots.")
	outDesc         = desc("outbox_out_events_per_second", "Events a second that had their first pass, between the last two snapshots.")
	queryDesc       = desc("outbox_query_seconds", "Time that the database needed for a cheap query.")
	forwardersDesc  = desc("outbox_forwarders", "Forwarders that are alive, or died and were not cleared away.", "state")
	freeDesc        = desc("outbox_free_slots", "Slots that nobody owns, of groups that have a forwarder alive.")
	pausedDesc      = desc("outbox_paused", "What operators have paused, by kind.", "kind")
	unreachableDesc = desc("outbox_unreachable", "1 for each publisher, as kafka://, or destination that takes nothing from some forwarder; of further ones how many.", "destination")
	alertDesc       = desc("outbox_alert", "1 for each alert that is raised.", "rule", "level")
	poolDesc        = desc("outbox_pool_connections", "Connections of the database pool of this process.", "state")
	poolMaxDesc     = desc("outbox_pool_max_connections", "Limit of the pool; 0 when it has none.")
	poolWaitsDesc   = desc("outbox_pool_waits_total", "Times that somebody had to wait for a connection of the pool.")
	poolWaitedDesc  = desc("outbox_pool_wait_seconds_total", "Time that was spent waiting for a connection of the pool.")
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}

	pool := poolOf(c.m.db.Stats())
	gauge(poolDesc, float64(pool.InUse), "in_use")
	gauge(poolDesc, float64(pool.Idle), "idle")
	gauge(poolMaxDesc, float64(pool.Max))
	counter(poolWaitsDesc, float64(pool.Waits))
	counter(poolWaitedDesc, pool.WaitSeconds)

	s, err := c.m.Recent(context.Background())
	counter(failuresDesc, float64(c.m.failures()))
	if err != nil {
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	gauge(ageDesc, time.Since(s.Time).Seconds())
	gauge(exactDesc, number(s.Exact()))
	s.Totals.each(func(state store.State, n int64) {
		gauge(openDesc, float64(n), string(state))
		gauge(spanDesc, float64(s.size(state)), string(state))
	})
	for _, part := range []struct {
		desc   *prometheus.Desc
		groups []Group
	}{{destinationDesc, s.Destinations}, {tenantDesc, s.Tenants}, {topicDesc, s.Topics}} {
		for _, g := range part.groups {
			g.Totals.each(func(state store.State, n int64) {
				if part.desc != destinationDesc || state != store.Pending {
					gauge(part.desc, float64(n), label(g.Name), string(state))
				}
			})
		}
	}
	gauge(oldestDesc, s.OldestSeconds)
	counter(insertedDesc, float64(s.Inserted))
	if s.Rates != nil {
		gauge(inDesc, s.Rates.In)
		gauge(outDesc, s.Rates.Out)
	}
	gauge(queryDesc, s.QueryMillis/1000)
	alive := s.alive()
	gauge(forwardersDesc, float64(alive), "alive")
	gauge(forwardersDesc, float64(len(s.Forwarders)-alive), "dead")
	gauge(freeDesc, float64(s.FreeSlots))
	for _, kind := range []admin.Kind{admin.Destination, admin.Tenant, admin.Key} {
		n := 0
		for _, p := range s.Paused {
			n += int(number(p.Kind == kind))
		}
		gauge(pausedDesc, float64(n), string(kind))
	}
	others := 0
	for i, u := range s.Unreachable { // whose names differ
		if i < maxLabelValues {
			gauge(unreachableDesc, 1, label(u.Name))
		} else {
			others++
		}
	}
	if others > 0 {
		gauge(unreachableDesc, float64(others), Others)
	}
	raised := map[[2]string]bool{} // a rule may be broken by several destinations
	for _, a := range s.Alerts() {
		if key := [2]string{string(a.Rule), string(a.Level)}; !raised[key] {
			raised[key] = true
			gauge(alertDesc, 1, key[0], key[1])
		}
	}
}

func (m *Monitor) failures() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.errors
}

func (t Totals) each(f func(store.State, int64)) {
	for _, state := range store.States {
		f(state, *t.of(state))
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
