package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// Validate reports all that is wrong with c, as [Faults] that name the keys. It does not look at what URLs lead to, and a database and a
// destination may be missing.
func (c Config) Validate() error {
	var faults Faults
	for _, s := range settings {
		v := s.field(&c)
		if s.Key == "publish_timeout" && v.IsZero() {
			continue
		}
		if err := s.check(v); err != nil {
			faults.add(s.Key, s.Key, err)
		}
	}
	c.validate(&faults, func(key string) string { return key })
	return faults.err()
}

// forwarderConnections is what a forwarder needs; see forwarder.NewSubscriber.
const forwarderConnections = 6

// minToken is what the status page wants.
const minToken = 16

// validate checks what concerns several settings, and what is more than a number.
func (c Config) validate(faults *Faults, place func(key string) string) {
	needed := forwarderConnections
	if c.Listen {
		needed++
	}
	if c.PoolSize+c.PoolOverflow < needed {
		faults.addf("connection_pool_size", place("connection_pool_size"), "%d connections and %d of connection_pool_overflow are too few; a forwarder needs up to %d",
			c.PoolSize, c.PoolOverflow, needed)
	}
	if c.SleepIdleMax < c.SleepIdle {
		faults.addf("sleep_idle_max", place("sleep_idle_max"), "%s is less than sleep_idle, %s", short(c.SleepIdleMax), short(c.SleepIdle))
	}
	if c.PublishTimeout >= c.Lease/2 {
		faults.addf("publish_timeout", place("publish_timeout"), "%s is not less than half of lease, %s; lower it or raise lease",
			short(c.PublishTimeout), short(c.Lease))
	}
	if publish := c.publishTimeout(); c.CloseTimeout < publish {
		faults.addf("close_timeout", place("close_timeout"), "%s is less than publish_timeout, %s: others would take over what is still being published; raise it or lower publish_timeout",
			short(c.CloseTimeout), short(publish))
	}
	if c.StatementTimeout > 0 && c.StatementTimeout < time.Millisecond {
		faults.addf("statement_timeout", place("statement_timeout"), "%s is less than 1ms; 0s is for none", c.StatementTimeout)
	}
	if c.DefaultDestination != "" && len(c.ByName) > 0 && c.ByName[c.DefaultDestination] == "" {
		faults.addf("default_destination", place("default_destination"), "there is no destination %q; there are %s", c.DefaultDestination,
			strings.Join(slices.Sorted(maps.Keys(c.ByName)), ", "))
	}
	if _, err := time.Parse("15:04", c.CleanupAt); err != nil && c.CleanupAt != "" {
		faults.addf("cleanup_at", place("cleanup_at"), "%q is no time of day, such as 02:00", c.CleanupAt)
	}
	if c.CleanupAt != "" && c.CleanupEvery > 0 {
		faults.addf("cleanup_every", place("cleanup_every"), "cleanup_at is set too; leave one out")
	}
	if n := len(c.ActionToken); n > 0 && n < minToken {
		faults.addf("action_token", place("action_token"), "it has %d bytes, want at least %d; leave it out to allow nothing", n, minToken)
	}
	if _, err := c.MetricsAddress(); err != nil {
		faults.add("metrics_port", place("metrics_port"), err)
	}
	for _, name := range c.StatusHosts {
		if err := statuspage.CheckHost(name); err != nil {
			faults.add("status_hosts", place("status_hosts"), err)
		}
	}
	c.validateAlerts(faults, place)
	_, wrong := c.policies(place)
	*faults = append(*faults, wrong...)
}

// MetricsAddress returns the address to serve monitoring at, empty for none.
func (c Config) MetricsAddress() (string, error) {
	if c.MetricsPort == "" {
		return "", nil
	}
	host, port := "127.0.0.1", c.MetricsPort
	if strings.Contains(c.MetricsPort, ":") {
		var err error
		if host, port, err = net.SplitHostPort(c.MetricsPort); err != nil {
			return "", fmt.Errorf("%q is no host:port, such as 0.0.0.0:9090", c.MetricsPort)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q is no port from 0 to 65535, nor host:port", c.MetricsPort)
	}
	return net.JoinHostPort(host, port), nil
}

// PageHosts returns the host names by which the status page is reached.
func (c Config) PageHosts() []string {
	list := slices.Clone(c.StatusHosts)
	if host, _, err := net.SplitHostPort(c.MetricsPort); err == nil && host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			list = append(list, host)
		}
	}
	return list
}

// policies returns the retry policies by name, the changed default one among them.
func (c Config) policies(place func(key string) string) (map[string]middleware.RetryPolicy, Faults) {
	var faults Faults
	if place == nil {
		place = func(key string) string { return key }
	}
	list := map[string]middleware.RetryPolicy{"default": c.defaultPolicy()}
	for _, name := range slices.Sorted(maps.Keys(c.Policies)) {
		p, err := ParsePolicy(c.Policies[name])
		if err != nil {
			at, origin := place("policies"), place("policies."+name)
			if origin != "" {
				at = origin
			}
			faults.add("policies", at, err)
		}
		list[name] = p
	}
	return list, faults
}

// ParsePolicy reads ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h.
func ParsePolicy(text string) (p middleware.RetryPolicy, err error) {
	parts := strings.Split(text, ",")
	if len(parts) != 4 {
		return p, errors.New("want ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h")
	}
	p.Jitter = 0.2
	if p.MaxAttempts, err = strconv.Atoi(parts[0]); err != nil {
		return p, fmt.Errorf("%q is no number of attempts", parts[0])
	}
	if p.InitialInterval, err = time.ParseDuration(parts[1]); err != nil {
		return p, fmt.Errorf("%q is no duration, such as 1s", parts[1])
	}
	if p.Multiplier, err = strconv.ParseFloat(parts[2], 64); err != nil {
		return p, fmt.Errorf("%q is no multiplier, such as 1.5", parts[2])
	}
	if p.MaxInterval, err = time.ParseDuration(parts[3]); err != nil {
		return p, fmt.Errorf("%q is no duration, such as 1h", parts[3])
	}
	return p, p.Validate()
}
