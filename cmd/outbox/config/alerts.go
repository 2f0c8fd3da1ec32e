package config

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/monitor"
)

// Alerts says when alerts are raised. Zero switches a level off, and both levels the rule.
type Alerts struct {
	BacklogWarning      int           `key:"alert_backlog_warning" min:"0" max:"1000000000000" help:"Warn of so many pending events and held deliveries; 0 for never."`
	BacklogCritical     int           `key:"alert_backlog_critical" min:"0" max:"1000000000000" help:"So many are critical; 0 for never."`
	QueryTimeWarning    time.Duration `key:"alert_query_time_warning" min:"0s" help:"Warn when the database needs so long for a cheap question; 0s for never."`
	QueryTimeCritical   time.Duration `key:"alert_query_time_critical" min:"0s" help:"So long is critical; 0s for never."`
	MinRate             float64       `key:"alert_min_rate" min:"0" max:"1000000000" placeholder:"N" help:"Warn when fewer events a second get through while many are pending; 0 for never."`
	RateBacklog         int           `key:"alert_rate_backlog" min:"1" max:"1000000000000" help:"So many pending events are many for alert_min_rate."`
	PoolUse             float64       `key:"alert_pool_use" min:"0" max:"1" placeholder:"SHARE" help:"Warn when more than this share of the pool's connections is in use, such as 0.9; 0 for never."`
	OldestAgeWarning    time.Duration `key:"alert_oldest_age_warning" min:"0s" help:"Warn when an event has been pending, or a delivery held, for so long; 0s for never."`
	OldestAgeCritical   time.Duration `key:"alert_oldest_age_critical" min:"0s" help:"So long is critical; 0s for never."`
	DeadWarning         int           `key:"alert_dead_warning" min:"0" max:"1000000000000" help:"Warn of so many dead letters; 0 for never."`
	DeadCritical        int           `key:"alert_dead_critical" min:"0" max:"1000000000000" help:"So many are critical; 0 for never."`
	UnreachableCritical time.Duration `key:"alert_unreachable_critical" min:"0s" help:"A destination that is out of reach for so long is critical, else a warning; 0s for never."`
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
