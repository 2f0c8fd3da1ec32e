package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// What is printed is a file that says the same.
func TestPrintedConfigurationCanBeRead(t *testing.T) {
	t.Parallel()
	src := config.Sources{
		File:    write(t, "schema: 'no'\ngroup: '007'\nroutes: a b#c.yaml\ntopics: [orders, '*']\n"),
		Environ: []string{"BENTO_OUTBOX_LEASE=1h30m", "BENTO_OUTBOX_POLICIES=slow=3,1m,2,1h", "METRICS_PORT=0.0.0.0:90", "BENTO_OUTBOX_PROFILE=low_latency"},
		Flags:   map[string][]string{"to": {"kafka://a:1,b:2?tls_ca=/ca.pem"}, "unordered": {"true"}},
	}
	l, err := config.Load(src)
	require.NoError(t, err)
	var printed bytes.Buffer
	require.NoError(t, l.Write(&printed))
	require.Contains(t, printed.String(), "lease: 1h30m # BENTO_OUTBOX_LEASE\n")
	require.Contains(t, printed.String(), "  default: \"kafka://a:1,b:2?tls_ca=/ca.pem\" # --to\n")

	again, err := config.Load(config.Sources{File: write(t, printed.String())})
	require.NoError(t, err, printed.String())
	require.Equal(t, l.Config, again.Config)
}

// No part of a URL that may be a secret is printed, nor is the token.
func TestPrintedConfigurationHasNoSecrets(t *testing.T) {
	t.Parallel()
	l, err := config.Load(config.Sources{
		Flags: map[string][]string{
			"to": {"https://hooks.example.com/services/T000/B000/tiger"}, "destination": {"b=https://tiger@h/?code=tiger", "c=redis://:tiger@h"},
			"database-url": {"postgres://app:tiger@db/shop?sslpassword=tiger"}, "action-token": {"tiger-tiger-tiger"},
		},
	})
	require.NoError(t, err)
	var printed bytes.Buffer
	require.NoError(t, l.Write(&printed))
	require.NotContains(t, printed.String(), "tiger")
	require.NotContains(t, printed.String(), "T000")
	require.Contains(t, printed.String(), `"https://hooks.example.com/xxxxx" # --to`)
}
