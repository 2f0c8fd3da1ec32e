package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Thresholds configure the alerts. Zero means the default. A negative number disables the level; with both levels disabled, the rule is.
type Thresholds struct {
	// Backlog is [Snapshot.Backlog]: pending events and held deliveries. Default 10,000 and 50,000.
	BacklogWarning, BacklogCritical int64
	// QueryTime is what the database needs for a cheap query. Default 500 ms and 1 s.
	QueryTimeWarning, QueryTimeCritical time.Duration
	// MinRate is the lowest throughput, in events per second, while RateBacklog events or more are pending. Default 100, and 1,000 events.
	MinRate     float64
	RateBacklog int64
	// PoolUse is the largest share of the pool's connections in use. Default 0.9; at most 1.
	PoolUse float64
	// OldestAge is the age of the oldest event that is pending, or delivery that is held. Default 5 min and 1 h.
	OldestAgeWarning, OldestAgeCritical time.Duration
	// Dead is the number of dead letters. Default 1 and 1,000.
	DeadWarning, DeadCritical int64
	// UnreachableCritical is how long a destination may be unreachable before its warning becomes critical. Default 10 min.
	UnreachableCritical time.Duration
}

// DefaultThresholds returns the thresholds that zero ones stand for.
func DefaultThresholds() Thresholds {
	t, _ := Thresholds{}.withDefaults() // the defaults are right
	return t
}

func (t Thresholds) withDefaults() (Thresholds, error) {
	faults := errors.Join(
		levels("Backlog", &t.BacklogWarning, &t.BacklogCritical, 10_000, 50_000),
		levels("QueryTime", &t.QueryTimeWarning, &t.QueryTimeCritical, 500*time.Millisecond, time.Second),
		levels("OldestAge", &t.OldestAgeWarning, &t.OldestAgeCritical, 5*time.Minute, time.Hour),
		levels("Dead", &t.DeadWarning, &t.DeadCritical, 1, 1000),
	)
	t.MinRate = cmp.Or(t.MinRate, 100)
	t.RateBacklog = cmp.Or(t.RateBacklog, 1000)
	t.PoolUse = cmp.Or(t.PoolUse, 0.9)
	t.UnreachableCritical = cmp.Or(t.UnreachableCritical, 10*time.Minute)
	if !(t.PoolUse <= 1) {
		faults = errors.Join(faults, fmt.Errorf("PoolUse %v: want a share of the connections, at most 1", t.PoolUse))
	}
	if t.MinRate != t.MinRate {
		faults = errors.Join(faults, errors.New("MinRate is not a number"))
	}
	return t, faults
}

// levels sets the defaults of a rule with two levels. One that is set alone moves the other's default out of its way.
func levels[T int64 | time.Duration](name string, warning, critical *T, standardWarning, standardCritical T) error {
	switch {
	case *warning == 0 && *critical > 0:
		*warning = min(standardWarning, *critical)
	case *critical == 0 && *warning > 0:
		*critical = max(standardCritical, *warning)
	}
	*warning, *critical = cmp.Or(*warning, standardWarning), cmp.Or(*critical, standardCritical)
	if *warning > 0 && *critical > 0 && *warning > *critical {
		return fmt.Errorf("%sWarning %v: must not be more than %[1]sCritical %[3]v", name, *warning, *critical)
	}
	return nil
}

// level returns the level of a value and the threshold that it reached; the empty level when it is below both.
func level[T int64 | time.Duration](value, warning, critical T) (l Level, threshold T) {
	switch {
	case critical > 0 && value >= critical:
		return Critical, critical
	case warning > 0 && value >= warning:
		return Warning, warning
	}
	return "", 0
}
