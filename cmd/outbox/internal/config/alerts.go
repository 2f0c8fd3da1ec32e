package config

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/monitor"
)

// Alerts says when alerts are raised. Zero switches a level off, and both levels the rule.
type Alerts struct {
	BacklogWarning      int           `key:"alert_backlog_warning" min:"0" max:"1000000000000" help:"Warn at this many pending events and held deliveries; 0 disables."`
	BacklogCritical     int           `key:"alert_backlog_critical" min:"0" max:"1000000000000" help:"Critical at this many pending events and held deliveries; 0 disables."`
	QueryTimeWarning    time.Duration `key:"alert_query_time_warning" min:"0s" help:"Warn when a cheap query takes this long; 0s disables."`
	QueryTimeCritical   time.Duration `key:"alert_query_time_critical" min:"0s" help:"Critical when a cheap query takes this long; 0s disables."`
	MinRate             float64       `key:"alert_min_rate" min:"0" max:"1000000000" placeholder:"N" help:"Warn when throughput falls below this many events per second while at least alert_rate_backlog events are pending; 0 disables."`
	RateBacklog         int           `key:"alert_rate_backlog" min:"1" max:"1000000000000" help:"Pending events from which alert_min_rate applies."`
	PoolUse             float64       `key:"alert_pool_use" min:"0" max:"1" placeholder:"SHARE" help:"Warn when more than this share of the connection pool is in use; 0 disables."`
	OldestAgeWarning    time.Duration `key:"alert_oldest_age_warning" min:"0s" help:"Warn when an event has been pending, or a delivery held, for this long; 0s disables."`
	OldestAgeCritical   time.Duration `key:"alert_oldest_age_critical" min:"0s" help:"Critical when an event has been pending, or a delivery held, for this long; 0s disables."`
	DeadWarning         int           `key:"alert_dead_warning" min:"0" max:"1000000000000" help:"Warn at this many dead letters; 0 disables."`
	DeadCritical        int           `key:"alert_dead_critical" min:"0" max:"1000000000000" help:"Critical at this many dead letters; 0 disables."`
	UnreachableCritical time.Duration `key:"alert_unreachable_critical" min:"0s" help:"Critical when a destination has been unreachable for this long; until then it is a warning. 0s disables."`
}

func newAlerts(t monitor.Thresholds) Alerts {
	return Alerts{
		BacklogWarning: int(t.BacklogWarning), BacklogCritical: int(t.BacklogCritical),
		QueryTimeWarning: t.QueryTimeWarning, QueryTimeCritical: t.QueryTimeCritical,
		MinRate: t.MinRate, RateBacklog: int(t.RateBacklog), PoolUse: t.PoolUse,
		OldestAgeWarning: t.OldestAgeWarning, OldestAgeCritical: t.OldestAgeCritical,
		DeadWarning: int(t.DeadWarning), DeadCritical: int(t.DeadCritical), UnreachableCritical: t.UnreachableCritical,
	}
}

// Thresholds returns the thresholds of the alerts, as a monitor takes them.
func (c Config) Thresholds() monitor.Thresholds {
	return monitor.Thresholds{
		BacklogWarning: int64(orOff(c.BacklogWarning)), BacklogCritical: int64(orOff(c.BacklogCritical)),
		QueryTimeWarning: orOff(c.QueryTimeWarning), QueryTimeCritical: orOff(c.QueryTimeCritical),
		MinRate: orOff(c.MinRate), RateBacklog: int64(c.RateBacklog), PoolUse: orOff(c.PoolUse),
		OldestAgeWarning: orOff(c.OldestAgeWarning), OldestAgeCritical: orOff(c.OldestAgeCritical),
		DeadWarning: int64(orOff(c.DeadWarning)), DeadCritical: int64(orOff(c.DeadCritical)),
		UnreachableCritical: orOff(c.UnreachableCritical),
	}
}

// orOff turns zero, which is off here, into what is off for a monitor.
func orOff[T int | float64 | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// levels are the settings that have two levels.
var levels = []string{"alert_backlog", "alert_query_time", "alert_oldest_age", "alert_dead"}

// level returns the value of a setting with two levels.
func (c *Config) level(key string) int64 {
	s, _ := find(byKey, key)
	return s.field(c).Int()
}

// adjust moves the default of a level out of the way of the other one that was set alone.
func (l *Loaded) adjust() {
	for _, name := range levels {
		warning, critical := name+"_warning", name+"_critical"
		least, most := l.level(warning), l.level(critical)
		if least == 0 || most == 0 || least <= most {
			continue
		}
		move := func(key string, to int64) {
			s, _ := find(byKey, key)
			s.field(&l.Config).SetInt(to)
		}
		switch {
		case l.Origins[warning].Layer < File:
			move(warning, most)
		case l.Origins[critical].Layer < File:
			move(critical, least)
		}
	}
}

// validateAlerts checks that what is critical is no less than what is warned of.
func (c Config) validateAlerts(faults *Faults, place func(key string) string) {
	for _, name := range levels {
		key, critical := name+"_warning", name+"_critical"
		warn, most := c.level(key), c.level(critical)
		if warn > 0 && most > 0 && warn > most {
			faults.addf(key, place(key), "%s is more than %s, %s", c.one(key), critical, c.one(critical))
		}
	}
}

// one is the value of a setting that has one, as text.
func (c Config) one(key string) string {
	s, _ := find(byKey, key)
	return s.format(s.field(&c))[0]
}
