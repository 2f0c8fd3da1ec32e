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
		c := config.Default()
		c.StatusHosts, c.MetricsPort = []string{"shop.internal"}, port
		require.NoError(t, c.Validate())
		require.Equal(t, want, c.PageHosts(), port)
	}
	for _, name := range []string{"http://shop.internal", "shop.internal:9090", "*.internal", ""} {
		c := config.Default()
		c.StatusHosts = []string{name}
		require.ErrorContains(t, c.Validate(), "status_hosts: ", name)
	}
}
