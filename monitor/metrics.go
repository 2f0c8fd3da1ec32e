package monitor

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// Metrics are the Prometheus metrics of the forwarders of one process, which feed them through [Metrics.Hooks]. It is safe for concurrent use.
//
// Events may name any destination: the first 200 have values of their own, the rest share the label [Others], and long names are cut.
type Metrics struct {
	attempts, retries, dead *prometheus.CounterVec
	publish, lag            *prometheus.HistogramVec
	breaker                 *prometheus.GaugeVec
	readEvents, settled     prometheus.Counter
	read, settle            prometheus.Histogram
	slots                   prometheus.Gauge

	destinations sync.Map // name -> *destination
	named        atomic.Int64
	mu           sync.Mutex        // for what is rare
	open         map[string]string // labels of breakers that are open, and which they are counted by
}

// destination has the metrics of one destination at hand, so that an attempt looks up nothing but this.
type destination struct {
	delivered, failed, unavailable, retry prometheus.Counter
	dead                                  prometheus.Counter
	publish, lag                          prometheus.Observer
}

// NewMetrics registers the metrics of a forwarder. It returns the registerer's error, for instance when a metric is registered already: two
// forwarders of one process share one Metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	fast := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	late := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		attempts: counter("outbox_attempts_total", "Attempts to publish an event to a destination, by result: delivered; failed, which uses an attempt of the retry policy; or unavailable, which does not, for the destination is to blame.", "destination", "result"),
		retries:  counter("outbox_retries_total", "Attempts, of those that count, that were not the first of their delivery.", "destination"),
		dead:     counter("outbox_dead_total", "Deliveries that gave up.", "destination"),
		publish:  histogram("outbox_publish_seconds", "Time that a publisher needed for an attempt.", fast, "destination"),
		lag:      histogram("outbox_lag_seconds", "Time from an event's insertion to its delivery.", late, "destination"),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outbox_breaker_open", Help: "1 while a publisher, as kafka://, or a destination takes nothing from this forwarder; of further ones how many.",
		}, []string{"destination"}),
		readEvents: prometheus.NewCounter(prometheus.CounterOpts{Name: "outbox_read_events_total", Help: "New events that were read from the outbox."}),
		settled:    prometheus.NewCounter(prometheus.CounterOpts{Name: "outbox_settled_events_total", Help: "Outcomes that were written down."}),
		read: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "outbox_read_seconds", Help: "Time that a read of the outbox took.", Buckets: fast,
		}),
		settle: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "outbox_settle_seconds", Help: "Time that it took to write down a batch of outcomes.", Buckets: fast,
		}),
		slots: prometheus.NewGauge(prometheus.GaugeOpts{Name: "outbox_slots_owned", Help: "Slots that this forwarder owns."}),
		open:  map[string]string{},
	}
	for _, c := range []prometheus.Collector{m.attempts, m.retries, m.dead, m.publish, m.lag, m.breaker, m.readEvents, m.settled, m.read, m.settle, m.slots} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of forwarders, which share one Metrics in a process: %w", err)
		}
	}
	return m, nil
}

// destination returns the metrics of a name.
func (m *Metrics) destination(name string) *destination {
	if d, ok := m.destinations.Load(name); ok {
		return d.(*destination)
	}
	label := label(name)
	if d, ok := m.destinations.Load(label); ok {
		return d.(*destination)
	}
	if m.named.Load() >= maxLabelValues { // not kept: the names may be without end
		label = Others
		if d, ok := m.destinations.Load(Others); ok {
			return d.(*destination)
		}
	}
	d := &destination{
		delivered: m.attempts.WithLabelValues(label, "delivered"), failed: m.attempts.WithLabelValues(label, "failed"),
		unavailable: m.attempts.WithLabelValues(label, "unavailable"),
		retry:       m.retries.WithLabelValues(label), dead: m.dead.WithLabelValues(label),
		publish: m.publish.WithLabelValues(label), lag: m.lag.WithLabelValues(label),
	}
	kept, known := m.destinations.LoadOrStore(label, d)
	if !known {
		m.named.Add(1)
	}
	return kept.(*destination)
}

// Hooks returns hooks that feed m, for forwarder.SubscriberConfig.Hooks. An attempt costs about 45 ns and no allocation.
func (m *Metrics) Hooks() forwarder.Hooks {
	return forwarder.Hooks{
		Published: m.published,
		Died:      func(destination string) { m.destination(destination).dead.Inc() },
		Breaker:   m.breakerChanged,
		Read: func(events int, took time.Duration) {
			m.readEvents.Add(float64(events))
			m.read.Observe(took.Seconds())
		},
		Settled: func(events int, took time.Duration) {
			m.settled.Add(float64(events))
			m.settle.Observe(took.Seconds())
		},
		Slots: func(owned int) { m.slots.Set(float64(owned)) },
	}
}

func (m *Metrics) published(a forwarder.Attempt) {
	d := m.destination(a.Destination)
	d.publish.Observe(a.Took.Seconds())
	if !a.Counted {
		d.unavailable.Inc()
		return
	}
	if a.Number > 1 {
		d.retry.Inc()
	}
	if a.Err != nil {
		d.failed.Inc()
		return
	}
	d.delivered.Inc()
	d.lag.Observe(a.Lag.Seconds())
}

func (m *Metrics) breakerChanged(scope string, open bool) {
	name := label(scope)
	m.mu.Lock()
	defer m.mu.Unlock()
	as, was := m.open[name]
	if open == was {
		return
	}
	if !open {
		m.breaker.WithLabelValues(as).Dec()
		if delete(m.open, name); as == name && !strings.HasSuffix(scope, "://") { // topics come and go, publishers stay
			m.breaker.DeleteLabelValues(name)
		}
		return
	}
	if as = name; len(m.open) >= maxLabelValues {
		as = Others
	}
	m.open[name] = as
	m.breaker.WithLabelValues(as).Inc()
}
