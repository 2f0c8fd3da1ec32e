package config_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// Everything that can be off is switched off by one word, from every source, and is printed as that word.
func TestOffIsOneWord(t *testing.T) {
	t.Parallel()
	keys := 0
	for _, s := range config.Settings() {
		if !strings.Contains(s.Values(""), `"off" `) {
			continue
		}
		keys++
		for _, src := range []config.Sources{
			{Flags: map[string][]string{s.Flag: {"off"}}},
			{Environ: []string{s.Env + "=Off"}},
			{File: write(t, s.Key+": off")},
		} {
			l, err := config.Load(src)
			require.NoError(t, err, s.Key)
			var printed bytes.Buffer
			require.NoError(t, l.Write(&printed))
			require.Contains(t, printed.String(), "\n"+s.Key+": off # "+l.Origins[s.Key].Place+"\n")
			require.Greater(t, l.Origins[s.Key].Layer, config.Profile, s.Key)
		}
	}
	require.Greater(t, keys, 15)
}

// Off wins over what a lower layer sets, and reaches the packages as what is off there.
func TestOffReachesThePackages(t *testing.T) {
	t.Parallel()
	l, err := config.Load(config.Sources{
		File: write(t, "metrics_port: 9090\nroutes: routes.yaml\npoison_destination: a://dead\naction_token: 0123456789abcdef\ncleanup_every: 1h\n"),
		Environ: []string{
			"METRICS_PORT=off", "BENTO_OUTBOX_ROUTES=off", "BENTO_OUTBOX_POISON_DESTINATION=off", "BENTO_OUTBOX_ACTION_TOKEN=off",
			"BENTO_OUTBOX_CLEANUP_EVERY=off", "BENTO_OUTBOX_RETENTION=off", "BENTO_OUTBOX_CONNECTION_RECYCLE=0", "BENTO_OUTBOX_STATEMENT_TIMEOUT=0s",
			"BENTO_OUTBOX_JIT=on", "BENTO_OUTBOX_CONNECTION_PING=off",
		},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"", "", "", ""}, []string{l.MetricsAddress(), l.Routes, l.Forwarder().PoisonDestination, l.ActionToken})
	cleaner, on := l.Cleaner()
	require.False(t, on)
	require.Equal(t, []time.Duration{admin.Forever, admin.Forever, admin.Forever, 0},
		[]time.Duration{cleaner.Retention, cleaner.SkippedRetention, cleaner.DeadRetention, cleaner.Every})
	require.Equal(t, []time.Duration{config.Off, config.Off}, []time.Duration{l.PoolRecycle, l.StatementTimeout})
	require.Equal(t, []bool{true, false}, []bool{l.JIT, l.PoolPing})

	for _, text := range []string{"-1", "never", "none"} {
		_, err := config.Load(config.Sources{Flags: map[string][]string{"alert-dead-warning": {text}}})
		require.ErrorContains(t, err, "is not a whole number", "off has one spelling")
	}
}
