package admin

import (
	"errors"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Forever is the retention that keeps all events of a status.
const Forever time.Duration = -1

// CleanerConfig says which events are removed, and when. The zero value removes, every night at two, sent and skipped events that are older than
// 7 days, and keeps dead ones.
type CleanerConfig struct {
	// Schema names the tables.
	Schema schema.Config
	// Retention of sent events, from the time at which they were stored. Defaults to 7 days; [Forever] keeps them.
	Retention time.Duration
	// SkippedRetention of skipped events, from the time at which they were skipped. Defaults to Retention.
	SkippedRetention time.Duration
	// DeadRetention of dead events, from the time at which they died. Defaults to [Forever]. A dead event that later events of its key wait for is
	// kept in any case.
	DeadRetention time.Duration
	// Tenants whose events are removed. Empty means all.
	Tenants []string

	// BatchSize is the number of events per transaction. Defaults to 5000.
	BatchSize int
	// Pause is the wait between two batches. Defaults to 100 ms.
	Pause time.Duration
	// At is the time of day of [Cleaner.Run], in Location. Defaults to "02:00".
	At string
	// Location of At. Defaults to time.Local.
	Location *time.Location
	// Every is the interval of [Cleaner.Run]; it replaces At if it is not 0.
	Every time.Duration
	// QueryTimeout bounds each batch. Defaults to 1 minute.
	QueryTimeout time.Duration
	// Progress, if it is not nil, is called after each batch by the goroutine that cleans up.
	Progress func(CleanerProgress)
}

// Removed counts the events that a clean-up removed, by status.
type Removed struct {
	Sent    int64 `json:"sent"`
	Skipped int64 `json:"skipped"`
	Dead    int64 `json:"dead"`
}

// Total returns the sum of all.
func (r Removed) Total() int64 { return r.Sent + r.Skipped + r.Dead }

// ErrCleanupRunning is wrapped by the error of [Cleaner.Once] while another cleaner is at work.
var ErrCleanupRunning = store.ErrCleanupRunning

// CleanerProgress is the progress of a clean-up.
type CleanerProgress struct {
	Removed Removed
	// Done is the fraction done, from 0 to 1.
	Done float64
}

// Cleaned is the result of a clean-up.
type Cleaned struct {
	Removed Removed
	// Partitions that were dropped as a whole. Their events do not count in Removed.
	Partitions []DroppedPartition
	// Held is the number of dead events that were old enough and stay because later events of their key wait for them.
	Held    int64
	Batches int
	Took    time.Duration
}

// DroppedPartition is a partition that was dropped because all its events were old.
type DroppedPartition struct {
	Name   string
	Events int64 // an estimate of those removed with it
	Kept   int64 // unfinished, dead and skipped ones, moved to the default partition
}

func (c CleanerConfig) withDefaults() (CleanerConfig, time.Duration, error) {
	var faults []error
	duration := func(name string, v *time.Duration, standard time.Duration, forever bool) {
		if *v == 0 {
			*v = standard
		}
		if *v < 0 && (!forever || *v != Forever) {
			faults = append(faults, fmt.Errorf("%s is %s, must not be negative", name, *v))
		}
	}
	duration("Retention", &c.Retention, 7*24*time.Hour, true)
	duration("SkippedRetention", &c.SkippedRetention, c.Retention, true)
	duration("DeadRetention", &c.DeadRetention, Forever, true)
	duration("Pause", &c.Pause, 100*time.Millisecond, false)
	duration("Every", &c.Every, 0, false)
	duration("QueryTimeout", &c.QueryTimeout, time.Minute, false)
	if c.BatchSize == 0 {
		c.BatchSize = 5000
	}
	if c.BatchSize < 1 || c.BatchSize > 100_000 {
		faults = append(faults, fmt.Errorf("BatchSize is %d, must be between 1 and 100000", c.BatchSize))
	}
	if c.At == "" {
		c.At = "02:00"
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Progress == nil {
		c.Progress = func(CleanerProgress) {}
	}
	at, err := time.Parse("15:04", c.At)
	if err != nil {
		faults = append(faults, fmt.Errorf("At is %q, must be a time of day such as 02:00", c.At))
	}
	return c, time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, errors.Join(faults...)
}
