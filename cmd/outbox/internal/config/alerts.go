package config

import (
	"reflect"
	"time"

	"github.com/bento-outbox/watermill-outbox/monitor"
)

// Alerts has the fields of [monitor.Thresholds], so that one converts to the other.
type Alerts struct {
	BacklogWarning      int64         `key:"alert_backlog_warning" min:"0" max:"1000000000000" off:"disables it" help:"Warn at this many pending events and held deliveries."`
	BacklogCritical     int64         `key:"alert_backlog_critical" min:"0" max:"1000000000000" off:"disables it" help:"Critical at this many pending events and held deliveries."`
	QueryTimeWarning    time.Duration `key:"alert_query_time_warning" min:"0s" off:"disables it" help:"Warn when a cheap query takes this long."`
	QueryTimeCritical   time.Duration `key:"alert_query_time_critical" min:"0s" off:"disables it" help:"Critical when a cheap query takes this long."`
	MinRate             float64       `key:"alert_min_rate" min:"0" max:"1000000000" placeholder:"N" off:"disables it" help:"Warn when throughput falls below this many events per second while at least alert_rate_backlog events are pending."`
	RateBacklog         int64         `key:"alert_rate_backlog" min:"1" max:"1000000000000" help:"Number of pending events from which alert_min_rate applies."`
	PoolUse             float64       `key:"alert_pool_use" min:"0" max:"1" placeholder:"SHARE" off:"disables it" help:"Warn when more than this share of the connection pool is in use."`
	OldestAgeWarning    time.Duration `key:"alert_oldest_age_warning" min:"0s" off:"disables it" help:"Warn when an event has been pending, or a delivery held, for this long."`
	OldestAgeCritical   time.Duration `key:"alert_oldest_age_critical" min:"0s" off:"disables it" help:"Critical when an event has been pending, or a delivery held, for this long."`
	DeadWarning         int64         `key:"alert_dead_warning" min:"0" max:"1000000000000" off:"disables it" help:"Warn at this many dead letters."`
	DeadCritical        int64         `key:"alert_dead_critical" min:"0" max:"1000000000000" off:"disables it" help:"Critical at this many dead letters."`
	UnreachableCritical time.Duration `key:"alert_unreachable_critical" min:"0s" off:"disables it" help:"Critical when a destination has been unreachable for this long; until then it is a warning."`
}

// Thresholds returns the thresholds of the alerts.
func (c Config) Thresholds() monitor.Thresholds { return monitor.Thresholds(c.Alerts) }

// alertRules are the rules with two levels: a warning, and from a higher value on, critical.
var alertRules = []string{"alert_backlog", "alert_query_time", "alert_oldest_age", "alert_dead"}

// level returns the field of a level.
func (l *Loaded) level(key string) reflect.Value {
	s, _ := find(byKey, key)
	return s.field(&l.Config)
}

// text returns the value of a setting that has one.
func (l *Loaded) text(key string) string {
	s, _ := find(byKey, key)
	return s.format(s.field(&l.Config))[0]
}
