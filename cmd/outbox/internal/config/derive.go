package config

import (
	"cmp"
	"time"
)

// derive sets the defaults that depend on other settings.
func (l *Loaded) derive() {
	if l.isDefault("sleep_idle_max") {
		l.SleepIdleMax = max(l.SleepIdleMax, l.SleepIdle)
	}
	if l.isDefault("publish_timeout") {
		l.PublishTimeout = min(10*time.Second, l.Lease/3)
	}
	if l.isDefault("close_timeout") {
		l.CloseTimeout = max(l.CloseTimeout, l.PublishTimeout)
	}
	if l.isDefault("skipped_retention") {
		l.SkippedRetention = l.Retention
	}
	l.deriveCleanup()
	for _, rule := range alertRules {
		warning, critical := l.level(rule+"_warning"), l.level(rule+"_critical")
		switch {
		case warning.Int() <= critical.Int() || critical.Int() == Off:
		case l.isDefault(rule + "_warning"):
			warning.SetInt(critical.Int())
		case l.isDefault(rule + "_critical"):
			critical.SetInt(warning.Int())
		}
	}
}

// nightly is the time of the clean-up if only the switch is set.
const nightly = "02:00"

// deriveCleanup makes the switch and the times agree: false wins over times of its layer and those below, and a time turns the switch on.
func (l *Loaded) deriveCleanup() {
	if switched := l.Origins["cleanup"].Layer; switched > Defaults && !l.CleanupOn {
		if l.Origins["cleanup_at"].Layer <= switched {
			l.CleanupAt = ""
		}
		if l.Origins["cleanup_every"].Layer <= switched {
			l.CleanupEvery = Off
		}
	}
	if l.CleanupOn && l.CleanupEvery == Off {
		l.CleanupAt = cmp.Or(l.CleanupAt, nightly)
	}
	l.CleanupOn = l.CleanupAt != "" || l.CleanupEvery > 0
}
