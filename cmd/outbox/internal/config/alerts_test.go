package config_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

func TestThresholds(t *testing.T) {
	t.Parallel()
	require.Equal(t, monitor.DefaultThresholds(), config.Default().Thresholds())

	l, err := config.Load(config.Sources{
		Flags: map[string][]string{"alert-dead-warning": {"5"}},
		Environ: []string{
			"BENTO_OUTBOX_ALERT_BACKLOG_WARNING=20000", "BENTO_OUTBOX_ALERT_BACKLOG_CRITICAL=0", "BENTO_OUTBOX_ALERT_MIN_RATE=0.5",
			"BENTO_OUTBOX_ALERT_POOL_USE=0", "BENTO_OUTBOX_ALERT_UNREACHABLE_CRITICAL=0",
		},
		File: write(t, "alert_dead_warning: 7\nalert_rate_backlog: 10\nalert_oldest_age_warning: 2h\nalert_query_time_critical: 100ms\n"),
	})
	require.NoError(t, err)
	want := monitor.DefaultThresholds()
	want.BacklogWarning, want.BacklogCritical = 20_000, -1
	want.MinRate, want.RateBacklog, want.PoolUse, want.UnreachableCritical = 0.5, 10, -1, -1
	want.DeadWarning = 5
	want.OldestAgeWarning, want.OldestAgeCritical = 2*time.Hour, 2*time.Hour // its default is out of the way
	want.QueryTimeWarning, want.QueryTimeCritical = 100*time.Millisecond, 100*time.Millisecond
	require.Equal(t, want, l.Thresholds())

	// What is printed is read again.
	var printed bytes.Buffer
	require.NoError(t, l.Write(&printed))
	again, err := config.Load(config.Sources{File: write(t, printed.String())})
	require.NoError(t, err, printed.String())
	require.Equal(t, want, again.Thresholds())
}

func TestWrongThresholds(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Sources{
		Flags: map[string][]string{"alert-dead-warning": {"9"}},
		Environ: []string{
			"BENTO_OUTBOX_ALERT_BACKLOG_WARNING=60000", "BENTO_OUTBOX_ALERT_BACKLOG_CRITICAL=50000", "BENTO_OUTBOX_ALERT_MIN_RATE=NaN",
			"BENTO_OUTBOX_ALERT_POOL_USE=90", "BENTO_OUTBOX_ALERT_RATE_BACKLOG=0", "BENTO_OUTBOX_ALERT_OLDEST_AGE_WARNING=old",
			"BENTO_OUTBOX_ALERT_QUERY_TIME_WARNING=-1s", "BENTO_OUTBOX_ALERT_DEAD_CRITICAL=8", "BENTO_OUTBOX_ALERT_BACKLOG=1",
			"BENTO_OUTBOX_STATUS_HOSTS=status.example,http://other.example",
		},
	})
	for _, want := range []string{
		"BENTO_OUTBOX_ALERT_BACKLOG_WARNING: 60000 is more than alert_backlog_critical, 50000",
		`BENTO_OUTBOX_ALERT_MIN_RATE: "NaN" is not a number from 0 to 1000000000`,
		`BENTO_OUTBOX_ALERT_POOL_USE: "90" is not a number from 0 to 1`,
		`BENTO_OUTBOX_ALERT_RATE_BACKLOG: "0" is not a whole number from 1 to 1000000000000`,
		`BENTO_OUTBOX_ALERT_OLDEST_AGE_WARNING: "old" is not a duration of 0s or more`,
		`BENTO_OUTBOX_ALERT_QUERY_TIME_WARNING: "-1s" is not a duration of 0s or more`,
		"--alert-dead-warning: 9 is more than alert_dead_critical, 8",
		"BENTO_OUTBOX_ALERT_BACKLOG: unknown variable",
		`BENTO_OUTBOX_STATUS_HOSTS: "http://other.example" is not a host name`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, err, 9)
}
