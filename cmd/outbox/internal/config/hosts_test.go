package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// The page answers by the host of metrics_port, unless that is an address, by which it answers anyway.
func TestPageHosts(t *testing.T) {
	t.Parallel()
	for port, want := range map[string][]string{
		"9090":                    {"shop.internal"},
		"0.0.0.0:9090":            {"shop.internal"},
		"[::1]:9090":              {"shop.internal"},
		"[fe80::1%eth0]:9090":     {"shop.internal"},
		"status.example.com:9090": {"shop.internal", "status.example.com"},
		":9090":                   {"shop.internal"},
	} {
		l, err := config.Load(config.Sources{Flags: map[string][]string{"status-hosts": {"shop.internal"}, "metrics-port": {port}}})
		require.NoError(t, err)
		require.Equal(t, want, l.PageHosts(), port)
	}
	for _, name := range []string{"http://shop.internal", "shop.internal:9090", "*.internal"} {
		_, err := config.Load(config.Sources{Flags: map[string][]string{"status-hosts": {name}}})
		require.ErrorContains(t, err, "--status-hosts: ", name)
	}
}
