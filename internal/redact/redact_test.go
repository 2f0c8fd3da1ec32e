package redact_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://app@db/shop":                          "postgres://app@db/shop",
		"postgres://app:tiger@db:5432/shop?sslmode=a":     "postgres://app:xxxxx@db:5432/shop?sslmode=a",
		"postgres://app:tiger@a:1,b:2/shop":               "postgres://app:xxxxx@a:1,b:2/shop",
		"postgres://app@db/d?password=tiger&sslkey=k.pem": "postgres://app@db/d?password=xxxxx&sslkey=k.pem",
		"postgres://app@db/d?p%61ssword=tiger":            "postgres://app@db/d?p%61ssword=xxxxx",
		"postgres://app@db/d?tiger":                       "postgres://app@db/d?xxxxx",
		"postgres://app:ti/ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti?ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti#ger@db/d":                      "postgres://xxxxx",
		"postgres://app:ti@tiger@db/d":                    "postgres://app:xxxxx@db/d",
		"redis://:tiger@h:1/0":                            "redis://:xxxxx@h:1/0",
		"redis://tiger@h:1/0":                             "redis://xxxxx@h:1/0",
		"nats://tiger@h":                                  "nats://xxxxx@h",
		"kafka://u:tiger@a:1,b:2?tls_key=k.pem":           "kafka://u:xxxxx@a:1,b:2?tls_key=k.pem",
		"kafka://a:1,b:2?tls_ca=/ca.pem":                  "kafka://a:1,b:2?tls_ca=/ca.pem",
		"https://hooks.example.com/services/T0/B0/tiger":  "https://hooks.example.com/xxxxx",
		"https://hooks.example.com/tiger#tiger":           "https://xxxxx",
		"https://hooks.example.com":                       "https://hooks.example.com",
		"https://hooks.example.com/":                      "https://hooks.example.com/",
		"https://tiger@hooks.example.com/":                "https://xxxxx@hooks.example.com/",
		"https://tiger:@hooks.example.com/":               "https://xxxxx@hooks.example.com/",
		"https://tiger:tiger@hooks.example.com/":          "https://xxxxx@hooks.example.com/",
		"HTTPS://h/tiger":                                 "HTTPS://h/xxxxx",
		"https://h?tiger":                                 "https://h?xxxxx",
		"https://h/p?sig=tiger&code=tiger&timeout=3s":     "https://h/xxxxx?sig=xxxxx&code=xxxxx&timeout=3s",
		"https://h/p?header.X-Id=tiger&query.a=tiger":     "https://h/xxxxx?header.X-Id=xxxxx&query.a=xxxxx",
		"slack://T000/B000/tiger":                         "slack://T000/xxxxx",
		"slack:tiger":                                     "xxxxx",
		"console://stdout":                                "console://stdout",
		"sqlite:/var/lib/shop.db?_pragma=x":               "sqlite:/var/lib/shop.db?_pragma=x",
		"sqlite:shop.db":                                  "sqlite:shop.db",
		"tiger":                                           "xxxxx",
		"app:tiger@db/shop":                               "xxxxx",
		"host=h password=tiger:x":                         "xxxxx",
		"host=h user=app password=tiger":                  "xxxxx",
	} {
		require.Equal(t, want, redact.URL(url), url)
		require.NotContains(t, redact.URL(url), "tiger")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`unexpected argument postgres://app:tiger@h/d`:                 `unexpected argument postgres://app:xxxxx@h/d`,
		`Post "https://hooks.example.com/services/tiger?x=tiger": EOF`: `Post "https://hooks.example.com/xxxxx?x=xxxxx": EOF`,
		`cannot send to https://h/tiger: EOF`:                          `cannot send to https://h/xxxxx: EOF`,
		`parse "redis://:tiger%zz@h": invalid URL escape`:              `parse "redis://:xxxxx@h": invalid URL escape`,
		`cannot parse host=h password=tiger user=app`:                  `cannot parse host=h password=xxxxx user=app`,
		`cannot parse host=h password = 'ti ger'`:                      `cannot parse host=h password=xxxxx`,
		`want postgres://user:password@host/database`:                  `want postgres://user:password@host/database`,
		`no publisher for kafka://orders, shop://orders or a`:          `no publisher for kafka://orders, shop://orders or a`,
		`it is no URL such as http://collector:4318`:                   `it is no URL such as http://collector:4318`,
		`sqlite:///var/lib/a.db is locked`:                             `sqlite:///var/lib/a.db is locked`,
		`post message 1 of topic orders to h: server answered 500`:     `post message 1 of topic orders to h: server answered 500`,
	} {
		require.Equal(t, want, redact.Text(text))
		require.NotContains(t, redact.Text(text), "tiger")
	}
}
