package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/config"
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
	again.PublishTimeout = 0 // printed as what it comes to
	require.Equal(t, l.Config, again.Config)
}

func TestHide(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://app@db/shop":                          "postgres://app@db/shop",
		"postgres://app:tiger@db:5432/shop?sslmode=a":     "postgres://app:xxxxx@db:5432/shop?sslmode=a",
		"postgres://app@db/d?password=tiger&sslkey=k.pem": "postgres://app@db/d?password=xxxxx&sslkey=k.pem",
		"postgres://app@db/d?p%61ssword=tiger":            "postgres://app@db/d?p%61ssword=xxxxx",
		"postgres://app:ti/ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti?ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti#ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti@tiger@db/d":                    "postgres://app:xxxxx@db/d",
		"redis://:tiger@h:1/0":                            "redis://:xxxxx@h:1/0",
		"kafka://u:tiger@a:1,b:2?tls_key=k.pem":           "kafka://u:xxxxx@a:1,b:2?tls_key=k.pem",
		"https://h/services/T0/B0/tiger0123456789abcdef":  "https://h/services/T0/B0/xxxxx",
		"https://h/p?header.X-Id=tiger&query.a=tiger&t=1": "https://h/p?header.X-Id=xxxxx&query.a=xxxxx&t=1",
		"sqlite:/var/lib/shop.db?_pragma=x":               "sqlite:/var/lib/shop.db?_pragma=x",
		"sqlite:shop.db":                                  "sqlite:shop.db",
		"tiger":                                           "xxxxx",
		"app:tiger@db/shop":                               "xxxxx",
		"host=h password=tiger:x":                         "xxxxx",
	} {
		require.Equal(t, want, config.Hide(url), url)
		require.NotContains(t, config.Hide(url), "tiger")
	}
}
