package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outbox.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// Every setting is a flag of run, and of the commands that show what run is told.
func TestEverySettingIsAFlag(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"run"}, {"config", "print"}, {"config", "check"}} {
		help := outbox(append(command, "--help")...).require(t, statusDone).stdout
		for _, s := range config.Settings() {
			require.Regexp(t, `--(\[no-\])?`+s.Flag+`[ =\n]`, help)
		}
	}
}

// A file says for every command where the tables are.
func TestCommandsReadTheFile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		file := configFile(t, "database_url: \""+url+"\"\ntable_prefix: mine\nto: console://stderr\nlog_level: error\n")
		outbox("migrate", "up", "--config", file).require(t, statusDone)
		_, err := open().ExecContext(t.Context(), `INSERT INTO mine (topic, payload) VALUES ('orders', '{}')`)
		require.NoError(t, err)
		require.Regexp(t, `pending +- +1 `, outbox("stats", "--config", file).require(t, statusDone).stdout)
		require.NotContains(t, outbox("run", "--once", "--config", file).require(t, statusDone).stderr, "level=INFO")
		require.Regexp(t, `pending +- +0 `, outbox("stats", "--config", file).require(t, statusDone).stdout)

		// What is wrong with the file is said by all; what is wrong with other settings, by those that have them.
		wrong := configFile(t, "database_url: \""+url+"\"\nbatch_sise: 1\nbatch_size: none\nschema: '1'\n")
		r := outbox("stats", "--config", wrong).require(t, statusUsage)
		require.Contains(t, r.stderr, wrong+`:2: unknown key "batch_sise", did you mean batch_size?`)
		require.Contains(t, r.stderr, wrong+`:4: schema: schema name "1"`)
		require.NotContains(t, r.stderr, "whole number")
		require.Contains(t, outbox("run", "--config", wrong).require(t, statusUsage).stderr, `:3: batch_size: "none" is not a whole number`)
	})
}

// The environment of run may be that of other commands too.
func TestEnvironmentOfOtherCommands(t *testing.T) {
	t.Setenv("DATABASE_URL", "sqlite:"+filepath.Join(t.TempDir(), "outbox.db"))
	t.Setenv("BENTO_OUTBOX_BATCHSIZE", "1")
	t.Setenv("BENTO_OUTBOX_LEASE", "soon")
	t.Setenv("BENTO_OUTBOX_TO", "console://stderr")
	outbox("migrate", "up").require(t, statusDone)
	r := outbox("run", "--once").require(t, statusUsage)
	require.Equal(t, "outbox: BENTO_OUTBOX_BATCHSIZE: unknown variable, did you mean BENTO_OUTBOX_BATCH_SIZE?\n"+
		"outbox: BENTO_OUTBOX_LEASE: \"soon\" is not a duration of 1s or more, such as 30s, 1m30s or 7d\n", r.stderr)
	require.NoError(t, os.Unsetenv("BENTO_OUTBOX_BATCHSIZE"))
	outbox("run", "--once", "--lease", "9s").require(t, statusUsage) // a variable that is wrong is wrong, though a flag wins
	t.Setenv("BENTO_OUTBOX_LEASE", "9s")
	outbox("run", "--once").require(t, statusDone)
}

func TestConfigPrintHidesSecrets(t *testing.T) {
	t.Parallel()
	file := configFile(t, "database_url: postgres://scott:tiger@h/d?sslpassword=tiger\nto: redis://:tiger@h\ndestinations: {hook: 'https://u:tiger@h?header.Authorization=tiger'}\n")
	r := outbox("config", "print", "--config", file, "--redis-url", "redis://:tiger@h2", "--action-token", "tiger0123456789abcdef").require(t, statusDone)
	require.NotContains(t, r.stdout+r.stderr, "tiger")
	require.Contains(t, r.stdout, "postgres://scott:xxxxx@h/d?sslpassword=xxxxx")
	require.Equal(t, 3, strings.Count(r.stdout, ":xxxxx@"))
	require.Contains(t, r.stdout, "https://xxxxx@h?header.Authorization=xxxxx")
}

// Settings that change nothing would mislead: each changes what run is made of.
func TestSettingsAreUsed(t *testing.T) {
	t.Parallel()
	base, err := config.Load(config.Sources{})
	require.NoError(t, err)
	made := func(c config.Config) []any {
		cleaner, on := c.Cleaner()
		return []any{cleaner, on, c.Forwarder(), c.Router(nil), c.Thresholds(), c.PageHosts(), daemonPool(c.Database), c.MetricsAddress(), c.ByName, c.Routes, c.LogLevel, c.LogFormat, c.Performance, c.ActionToken, c.DatabaseURL}
	}
	values := map[string]string{
		"profile": "low_latency", "metrics_port": "1", "policies": "a=1,1s,1,1s", "destinations": "a=b", "log_level": "warn", "log_format": "json",
		"cleanup_at": "02:00", "close_timeout": "33s", "alert_pool_use": "0.5", "action_token": "0123456789abcdef", "connection_ping": "false", "enable_performance_monitoring": "false",
	}
	for _, s := range config.Settings() {
		value := values[s.Key]
		switch {
		case value != "":
		case s.IsBool():
			value = "true"
		case s.Placeholder == "N":
			value = "7"
		case s.Placeholder == "DURATION":
			value = "3s"
		default:
			value = "x"
		}
		l, err := config.Load(config.Sources{Flags: map[string][]string{s.Flag: {value}}})
		require.NoError(t, err, s.Key)
		require.False(t, reflect.DeepEqual(made(base.Config), made(l.Config)), "%s=%s changes nothing", s.Key, value)
	}
}
