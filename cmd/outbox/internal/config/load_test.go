package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/forwarder"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outbox.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	src := config.Sources{
		Flags:   map[string][]string{"batch-size": {"1"}},
		Environ: []string{"BENTO_OUTBOX_BATCH_SIZE=2", "BENTO_OUTBOX_SLEEP_BUSY=0.25", "BENTO_OUTBOX_GROUP=", "BENTO_OUTBOX_PROFILE=low-latency", "HOME=/"},
		File:    write(t, "batch_size: 3\nsleep_busy: 3s\nsettle_delay: 3ms\nprofile: high_throughput\n"),
	}
	l, err := config.Load(src)
	require.NoError(t, err)
	require.Equal(t, 1, l.BatchSize)
	require.Equal(t, 250*time.Millisecond, l.SleepBusy, "a number is one of seconds")
	require.Equal(t, 3*time.Millisecond, l.SettleDelay)
	require.Equal(t, forwarder.LowLatency().SleepIdleMax, l.SleepIdleMax)
	require.Equal(t, 30*time.Second, l.Lease)
	require.Equal(t, "default", l.Group, "an empty variable is none")
	for key, want := range map[string]string{
		"batch_size": "--batch-size", "sleep_busy": "BENTO_OUTBOX_SLEEP_BUSY", "settle_delay": src.File + ":3: settle_delay",
		"sleep_idle_max": "profile low-latency", "lease": "default",
	} {
		require.Equal(t, want, l.Origins[key].Place, key)
	}
}

// A configuration with nothing set is the forwarder's own defaults, and each profile is what package forwarder has.
func TestSettingsReachTheForwarder(t *testing.T) {
	t.Parallel()
	want := forwarder.Defaults()
	got := config.Default().Forwarder().Subscriber
	require.Equal(t, "outbox", got.Schema.Names.Prefix)
	got.Schema = want.Schema
	require.Equal(t, want, got)

	for name, profile := range map[string]forwarder.SubscriberConfig{"high_throughput": forwarder.HighThroughput(), "low_latency": forwarder.LowLatency()} {
		l, err := config.Load(config.Sources{Flags: map[string][]string{"profile": {name}}})
		require.NoError(t, err)
		got := l.Forwarder().Subscriber
		for _, pair := range [][2]any{
			{profile.BatchSize, got.BatchSize}, {profile.MaxConcurrent, got.MaxConcurrent}, {profile.SettleBatch, got.SettleBatch},
			{profile.SettleDelay, got.SettleDelay}, {profile.SleepBusy, got.SleepBusy}, {profile.SleepIdle, got.SleepIdle},
			{profile.SleepIdleMax, got.SleepIdleMax},
		} {
			require.NotZero(t, pair[0])
			require.Equal(t, pair[0], pair[1], name)
		}
	}

	l, err := config.Load(config.Sources{Environ: []string{
		"BENTO_OUTBOX_MAX_CONCURRENT_PROJECTORS=7", "BENTO_OUTBOX_MAX_RETRY_ATTEMPTS=8", "BENTO_OUTBOX_ERROR_RETRY_DELAY=9s",
		"BENTO_OUTBOX_QUERY_TIMEOUT_SECONDS=11", "BENTO_OUTBOX_BATCH_COMMIT_SIZE=12", "BENTO_OUTBOX_SLEEP_IDLE=2s",
		"BENTO_OUTBOX_TENANTS=a, b", "BENTO_OUTBOX_POLICIES=slow=3,1m,2,1h fast=9,1ms,1,1s",
		"BENTO_OUTBOX_DESTINATIONS=a=http://a b=http://b", "REDIS_URL=redis://r", "BENTO_OUTBOX_TO=console://", "BENTO_OUTBOX_LEASE=9s",
		"BENTO_OUTBOX_CLEANUP_AT=02:00", "BENTO_OUTBOX_RETENTION=10d",
	}})
	require.NoError(t, err)
	s := l.Forwarder().Subscriber
	require.Equal(t, 7, s.MaxConcurrent)
	require.Equal(t, 8, s.RetryPolicy.MaxAttempts)
	require.Equal(t, 9*time.Second, s.RetryPolicy.InitialInterval)
	require.Equal(t, 11*time.Second, s.QueryTimeout)
	require.Equal(t, 12, s.SettleBatch)
	require.Equal(t, []string{"a", "b"}, s.Tenants)
	require.Equal(t, 2*time.Second, s.SleepIdleMax, "raised to sleep_idle")
	require.Equal(t, 3*time.Second, s.PublishTimeout, "a third of the lease")
	require.Equal(t, map[string]string{"a": "http://a", "b": "http://b", "redis": "redis://r", "default": "console://"}, l.ByName)
	cleaner, on := l.Cleaner()
	require.True(t, on)
	require.Equal(t, []any{"02:00", 10 * 24 * time.Hour, admin.Forever}, []any{cleaner.At, cleaner.Retention, cleaner.DeadRetention})
	r := l.Router(nil)
	require.Equal(t, 8, r.Policies["default"].MaxAttempts)
	require.Equal(t, 3, r.Policies["slow"].MaxAttempts)
	require.Equal(t, time.Millisecond, r.Policies["fast"].InitialInterval)
}

// Destinations of all sources are there; of two with one name the one that wins elsewhere does.
func TestDestinationsAreMerged(t *testing.T) {
	t.Parallel()
	l, err := config.Load(config.Sources{
		File:    write(t, "to: http://file\nredis_url: redis://file\ndestinations:\n  a: http://file-a\n  b: http://file-b\n"),
		Environ: []string{"REDIS_URL=redis://env", "BENTO_OUTBOX_DESTINATIONS=a=http://env-a"},
		Flags:   map[string][]string{"destination": {"default=http://flag"}},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"default": "http://flag", "redis": "redis://env", "a": "http://env-a", "b": "http://file-b"}, l.ByName)
	require.Equal(t, "--destination default", l.Origins["destinations.default"].Place)
	require.Equal(t, "BENTO_OUTBOX_DESTINATIONS a", l.Origins["destinations.a"].Place)

	for _, src := range []config.Sources{
		{Flags: map[string][]string{"destination": {"default=http://flag"}, "to": {"http://to"}}},
		{Flags: map[string][]string{"destination": {"default=http://flag", "default=http://again"}}},
	} {
		_, err = config.Load(src)
		require.ErrorContains(t, err, `there are two`)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	file := write(t, `
batchsize: 5
batch_size: lots
lease: [1s]
destinations: kafka://user:tiger@h
tenants:
  a: b
group: a
group: b
policies: {slow: "3,1m"}
routes:
`)
	_, err := config.Load(config.Sources{
		File: file,
		Environ: []string{
			"BENTO_OUTBOX_BATCHSIZE=5", "BENTO_OUTBOX_MAX_CONCURRENT=5", "BENTO_OUTBOX_PROFILE=fast", "BENTO_OUTBOX_UNORDERED=perhaps",
			"METRICS_PORT=localhost", "LOG_LEVEL=loud", "BENTO_OUTBOX_CONNECTION_POOL_SIZE=1", "BENTO_OUTBOX_CONNECTION_POOL_OVERFLOW=1",
			"BENTO_OUTBOX_SLEEP_IDLE=10ms", "BENTO_OUTBOX_SLEEP_IDLE_MAX=5ms", "BENTO_OUTBOX_DESTINATIONS=tiger",
			"BENTO_OUTBOX_DEFAULT_DESTINATION=none", "BENTO_OUTBOX_TO=http://x", "BENTO_OUTBOX_ACTION_TOKEN=tiger",
			"BENTO_OUTBOX_CLEANUP_AT=2am", "BENTO_OUTBOX_CLEANUP_EVERY=1h", "BENTO_OUTBOX_RETENTION=0d",
		},
		Flags: map[string][]string{"lease": {"10s"}, "publish-timeout": {"5s"}, "batch-commit-size": {"0"}},
	})
	var faults config.Faults
	require.ErrorAs(t, err, &faults)
	at := func(line string) string { return file + ":" + line + ": " }
	want := []string{
		`BENTO_OUTBOX_BATCHSIZE: unknown variable, did you mean BENTO_OUTBOX_BATCH_SIZE?`,
		`BENTO_OUTBOX_MAX_CONCURRENT: unknown variable, did you mean BENTO_OUTBOX_MAX_CONCURRENT_PROJECTORS?`,
		at("2") + `unknown key "batchsize", did you mean batch_size?`,
		at("4: lease") + `want one value`,
		at("5: destinations") + `want names with values, as in kafka: kafka://localhost:9092`,
		at("6: tenants") + `want one value`,
		at("9: group") + `it is set twice`,
		at("3: batch_size") + `"lots" is not a whole number from 1 to 100000`,
		`BENTO_OUTBOX_PROFILE: "fast" is none of high_throughput, low_latency`,
		`BENTO_OUTBOX_UNORDERED: "perhaps" is neither true nor false`,
		`BENTO_OUTBOX_DESTINATIONS: number 1: want NAME=URL`,
		`BENTO_OUTBOX_RETENTION: "0d" is not a duration of 1s or more, such as 30s, 1m30s or 7d`,
		`LOG_LEVEL: "loud" is none of trace, debug, info, warn, error`,
		`--batch-commit-size: "0" is not a whole number from 1 to 100000`,
		`BENTO_OUTBOX_CONNECTION_POOL_SIZE: 1 connections and 1 of connection_pool_overflow are too few; a forwarder needs up to 6`,
		`BENTO_OUTBOX_SLEEP_IDLE_MAX: 5ms is less than sleep_idle, 10ms`,
		`--publish-timeout: 5s is not less than half of lease, 10s; lower it or raise lease`,
		`BENTO_OUTBOX_DEFAULT_DESTINATION: there is no destination "none"; there are default`,
		`BENTO_OUTBOX_CLEANUP_AT: "2am" is not a time of day, such as 02:00`,
		`BENTO_OUTBOX_CLEANUP_EVERY: cleanup_at is set too; leave one out`,
		`BENTO_OUTBOX_ACTION_TOKEN: it has 5 bytes, want at least 16; leave it out to disable actions`,
		`METRICS_PORT: "localhost" is neither a port from 0 to 65535 nor host:port`,
		at("10: policies slow") + `want ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h`,
	}
	require.Equal(t, want, strings.Split(err.Error(), "\n"))
	require.NotContains(t, err.Error(), "tiger")
	for _, f := range faults {
		require.NotEmpty(t, f.Place)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	big := write(t, strings.Repeat("# nothing\n", 200_000))
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none.yaml"): "no such file",
		write(t, "a: [b"):                       "yaml: line 1",
		write(t, "- a"):                         "want settings, as in batch_size: 1000",
		write(t, "lease: 9s\n---\nlease: 8s"):   "there is a second document behind ---; want one",
		write(t, "tenants: ','"):                `tenants: "," has no value between its commas`,
		t.TempDir():                             "is a directory",
		big:                                     "at most 1048576 are allowed",
	} {
		_, err := config.Load(config.Sources{File: path})
		require.ErrorContains(t, err, want)
		require.Equal(t, 1, strings.Count(err.Error(), path), err)
		_, err = config.Load(config.Sources{Environ: []string{"BENTO_OUTBOX_CONFIG=" + path}})
		require.ErrorContains(t, err, want)
	}
	_, err := config.Load(config.Sources{File: write(t, "")})
	require.NoError(t, err)
}

func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	load := func(port string) (config.Loaded, error) {
		return config.Load(config.Sources{Flags: map[string][]string{"metrics-port": {port}}})
	}
	for port, want := range map[string]string{
		"": "", "off": "", "9090": "127.0.0.1:9090", ":9090": ":9090", "0.0.0.0:1": "0.0.0.0:1", "[::1]:1": "[::1]:1",
	} {
		l, err := load(port)
		require.NoError(t, err)
		require.Equal(t, want, l.MetricsAddress())
	}
	for _, port := range []string{"x", "70000", "-1", "a:b:c", "host:http"} {
		_, err := load(port)
		require.ErrorContains(t, err, "--metrics-port: ", port)
	}
}
