package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// forwarderConnections is the number of connections that a forwarder needs; see forwarder.NewSubscriber.
const forwarderConnections = 6

// validate checks the settings that depend on each other, and the texts that have a form. It follows no URL; a database and a destination may be
// missing.
func (l *Loaded) validate(faults *Faults) {
	wrong := func(key, format string, args ...any) { faults.addf(key, l.place(key), format, args...) }
	needed := forwarderConnections
	if l.Listen {
		needed++
	}
	if l.PoolSize+l.PoolOverflow < needed {
		wrong("connection_pool_size", "%d connections and %d of connection_pool_overflow are too few; a forwarder needs up to %d",
			l.PoolSize, l.PoolOverflow, needed)
	}
	if l.SleepIdleMax < l.SleepIdle {
		wrong("sleep_idle_max", "%s is less than sleep_idle, %s", Short(l.SleepIdleMax), Short(l.SleepIdle))
	}
	if l.PublishTimeout >= l.Lease/2 {
		wrong("publish_timeout", "%s is not less than half of lease, %s; lower it or raise lease", Short(l.PublishTimeout), Short(l.Lease))
	}
	if l.CloseTimeout < l.PublishTimeout {
		wrong("close_timeout", "%s is less than publish_timeout, %s: another forwarder would take over what is still being published; raise it or lower publish_timeout",
			Short(l.CloseTimeout), Short(l.PublishTimeout))
	}
	if l.StatementTimeout > 0 && l.StatementTimeout < time.Millisecond {
		wrong("statement_timeout", "%s is less than 1ms; off is for none", l.StatementTimeout)
	}
	if l.DefaultDestination != "" && len(l.ByName) > 0 && l.ByName[l.DefaultDestination] == "" {
		wrong("default_destination", "there is no destination %q; there are %s", l.DefaultDestination,
			strings.Join(slices.Sorted(maps.Keys(l.ByName)), ", "))
	}
	if _, err := time.Parse("15:04", l.CleanupAt); err != nil && l.CleanupAt != "" {
		wrong("cleanup_at", "%q is not a time of day, such as 02:00", l.CleanupAt)
	}
	if l.CleanupAt != "" && l.CleanupEvery > 0 {
		wrong("cleanup_every", "cleanup_at is set too; leave one out")
	}
	if n := len(l.ActionToken); n > 0 && n < statuspage.MinToken {
		wrong("action_token", "it has %d bytes, want at least %d; leave it out to disable actions", n, statuspage.MinToken)
	}
	if _, err := metricsAddress(l.MetricsPort); err != nil {
		faults.add("metrics_port", l.place("metrics_port"), err)
	}
	for _, name := range l.StatusHosts {
		if err := statuspage.CheckHost(name); err != nil {
			faults.add("status_hosts", l.place("status_hosts"), err)
		}
	}
	for _, rule := range alertRules {
		if warning, critical := l.level(rule+"_warning"), l.level(rule+"_critical"); critical.Int() != Off && warning.Int() > critical.Int() {
			wrong(rule+"_warning", "%s is more than %s_critical, %s", l.text(rule+"_warning"), rule, l.text(rule+"_critical"))
		}
	}
	l.parsePolicies(faults)
}

// MetricsAddress returns the address to serve monitoring at, or "" for none. A faulty one counts as none.
func (c Config) MetricsAddress() string {
	address, _ := metricsAddress(c.MetricsPort)
	return address
}

func metricsAddress(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	host, port := "127.0.0.1", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", fmt.Errorf("%q is not host:port, such as 0.0.0.0:9090", text)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q is neither a port from 0 to 65535 nor host:port", text)
	}
	return net.JoinHostPort(host, port), nil
}

// PageHosts returns the host names that browsers may open the status page by.
func (c Config) PageHosts() []string {
	list := slices.Clone(c.StatusHosts)
	if host, _, err := net.SplitHostPort(c.MetricsPort); err == nil && host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			list = append(list, host)
		}
	}
	return list
}
