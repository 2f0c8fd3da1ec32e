package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

func TestCloseTimeoutIsNotLessThanPublishTimeout(t *testing.T) {
	t.Parallel()
	load := func(environ ...string) (config.Loaded, error) { return config.Load(config.Sources{Environ: environ}) }

	_, err := load("BENTO_OUTBOX_CLOSE_TIMEOUT=5s")
	require.EqualError(t, err, "BENTO_OUTBOX_CLOSE_TIMEOUT: 5s is less than publish_timeout, 10s: another forwarder would take over what is still being published; "+
		"raise it or lower publish_timeout")
	l, err := load("BENTO_OUTBOX_CLOSE_TIMEOUT=5s", "BENTO_OUTBOX_PUBLISH_TIMEOUT=5s")
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, l.Forwarder().Subscriber.CloseTimeout)
	l, err = load("BENTO_OUTBOX_PUBLISH_TIMEOUT=25s", "BENTO_OUTBOX_LEASE=1m")
	require.NoError(t, err)
	require.Equal(t, 25*time.Second, l.Forwarder().Subscriber.CloseTimeout, "its default follows")
}
