package kafka_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
)

// A broker with certificates on both sides.
func TestTLS(t *testing.T) {
	ca, stranger := adapterstest.NewAuthority(t, "ca"), adapterstest.NewAuthority(t, "stranger")
	cert, key := ca.Issue("outbox")
	foreignCert, foreignKey := stranger.Issue("outbox")
	serverTLS := ca.Config(ca.Issue("server"))
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.TLS(serverTLS))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	address := cluster.ListenAddrs()[0]

	publish := func(t *testing.T, options url.Values) error {
		t.Helper()
		options.Set("timeout", "2s")
		pub, err := adapters.Open(t.Context(), "kafka://"+address+"?"+options.Encode(), watermill.NopLogger{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pub.Close()) })
		m := message.NewMessageWithContext(t.Context(), "1", []byte("{}"))
		return pub.Publish("orders", m)
	}
	require.NoError(t, publish(t, url.Values{"tls_ca": {ca.File}, "tls_cert": {cert}, "tls_key": {key}}))

	for name, c := range map[string]struct {
		options url.Values
		want    string
	}{
		"another authority":     {url.Values{"tls_ca": {stranger.File}, "tls_cert": {cert}, "tls_key": {key}}, "certificate signed by unknown authority"},
		"the system's":          {url.Values{"tls": {"true"}, "tls_cert": {cert}, "tls_key": {key}}, "certificate signed by unknown authority"},
		"no client certificate": {url.Values{"tls_ca": {ca.File}}, "certificate required"},
		"of a stranger":         {url.Values{"tls_ca": {ca.File}, "tls_cert": {foreignCert}, "tls_key": {foreignKey}}, "certificate required"}, // it is not even shown
		"no TLS":                {url.Values{}, "EOF: the broker hangs up; if it wants TLS, set tls=true or tls_ca"},
	} {
		t.Run(name, func(t *testing.T) {
			err := publish(t, c.options)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Equal(t, 1, strings.Count(err.Error(), address), "one cause: %s", err)
		})
	}
}
