package adapters_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

var opened = make(chan *url.URL, 64)

func init() {
	adapters.Register("Memory", func(_ context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error) {
		opened <- u
		if logger == nil {
			return nil, errors.New("nil logger")
		}
		options := adapters.NewOptions(u)
		config := gochannel.Config{OutputChannelBuffer: int64(options.Int("buffer", 0))}
		if err := options.Err(); err != nil {
			return nil, err
		}
		return gochannel.NewGoChannel(config, logger), nil
	})
}

func TestRegisterPanics(t *testing.T) {
	t.Parallel()
	open := func(context.Context, *url.URL, watermill.LoggerAdapter) (message.Publisher, error) { return nil, nil }
	assert.PanicsWithValue(t, "adapters: Register with an empty scheme", func() { adapters.Register("", open) })
	assert.PanicsWithValue(t, "adapters: Register of x with a nil Opener", func() { adapters.Register("x", nil) })
	assert.PanicsWithValue(t, "adapters: Register called twice for memory", func() { adapters.Register("MEMORY", open) })
}

func TestOpen(t *testing.T) {
	t.Parallel()
	pub, err := adapters.Open(t.Context(), "MEMORY://?buffer=5", nil)
	require.NoError(t, err)
	require.NoError(t, pub.Close())
	assert.Contains(t, adapters.Schemes(), "memory")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = adapters.Open(ended, "memory://", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenUnknownScheme(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ url, want string }{
		"not imported": {
			"kafka://h:1",
			`unknown publisher scheme "kafka" (registered: memory): import _ "github.com/bento-outbox/watermill-outbox/adapters/kafka"`,
		},
		"misspelt":        {"kafak://h:1", `unknown publisher scheme "kafak" (registered: memory): did you mean kafka?`},
		"never heard of":  {"gopher://h:1", `unknown publisher scheme "gopher" (registered: memory): import its adapter or Register one`},
		"misspelt memory": {"memroy://", `unknown publisher scheme "memroy" (registered: memory): did you mean memory?`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := adapters.Open(t.Context(), c.url, nil)
			require.ErrorIs(t, err, adapters.ErrUnknownScheme)
			assert.EqualError(t, err, c.want)
		})
	}
}

// Whatever is wrong with a URL, and wherever an unescaped password makes its parts fall, no part of it is printed.
func TestOpenNeverPrintsSecrets(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"SECRET", "SECRET%zz", "SEC/SECRET", "S SECRET", "S#SECRET", "S?SECRET", "S@SECRET", "[SECRET", "S:SECRET", "SECRET\x00"} {
		for _, rest := range []string{"host:port", "host:1", "host:1?buffer=x", "a:1,b:x", "[::1", "host:1?bufer=1", "host?a;b"} {
			for _, scheme := range []string{"memory", "nosuch", "", "http", "1"} {
				raw := fmt.Sprintf("%s://user:%s@%s", scheme, password, rest)
				pub, err := adapters.Open(t.Context(), raw, nil)
				if err != nil {
					// What url.Parse takes for a host or an option is quoted by no test above either.
					assert.NotContains(t, err.Error(), "SECRET", raw)
				} else {
					_ = pub.Close()
				}
			}
		}
	}
	for _, raw := range []string{"", "SECRET", "SECRET@host:1", "host:SECRET", ":SECRET", "memory:SECRET"} {
		_, err := adapters.Open(t.Context(), raw, nil)
		require.EqualError(t, err, "publisher URL must have the form scheme://host")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("x://h?s=text&n=7&b=true&d=1500ms&c=red&header.A=1&header.B=2")
	require.NoError(t, err)
	o := adapters.NewOptions(u)
	assert.Equal(t, "text", o.String("s", "d"))
	assert.Equal(t, "d", o.String("s2", "d"))
	assert.Equal(t, 7, o.Int("n", 1))
	assert.Equal(t, 1, o.Int("n2", 1))
	assert.True(t, o.Bool("b", false))
	assert.True(t, o.Bool("b2", true))
	assert.Equal(t, 1500*time.Millisecond, o.Duration("d", 0))
	assert.Equal(t, time.Minute, o.Duration("d2", time.Minute))
	assert.Equal(t, "red", o.Choice("c", "", "red", "green"))
	assert.Equal(t, map[string]string{"A": "1", "B": "2"}, o.Prefixed("header."))
	assert.Nil(t, o.TLS())
	assert.NoError(t, o.Err())
}

func TestOptionsReportEveryFault(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("x://h?timout=1s&n=-1&n2=x&b=maybe&d=5&d2=-1s&c=blue&s=1&s=2&zzzzzz=SECRET&tls_ca=/nonexistent&tls_key=k")
	require.NoError(t, err)
	o := adapters.NewOptions(u)
	assert.Equal(t, time.Second, o.Duration("timeout", time.Second))
	assert.Equal(t, 3, o.Int("n", 3))
	assert.Equal(t, 3, o.Int("n2", 3))
	assert.True(t, o.Bool("b", true))
	assert.Equal(t, time.Second, o.Duration("d", time.Second))
	assert.Equal(t, time.Second, o.Duration("d2", time.Second))
	assert.Equal(t, "red", o.Choice("c", "red", "red", "green"))
	o.String("s", "")
	o.TLS()
	assert.EqualError(t, o.Err(), `option n: "-1" is no whole number from 0
option n2: "x" is no whole number from 0
option b: "maybe" is neither true nor false
option d: "5" is no duration above 0, such as 500ms or 5s
option d2: "-1s" is no duration above 0, such as 500ms or 5s
option c: "blue" is none of red, green
option s: set 2 times
option tls_ca: open /nonexistent: no such file or directory
options tls_cert and tls_key: one without the other
unknown option "timout": did you mean timeout?
unknown option "zzzzzz": known are b, c, d, d2, n, n2, s, timeout, tls_ca, tls_cert, tls_key`)
}

func TestHostLists(t *testing.T) {
	for raw, want := range map[string]string{
		"memory://u:p@a:1,b:2/":   "a:1,b:2",
		"memory://a:1,b":          "a:1,b",
		"memory://[::1]:1,b:2":    "[::1]:1,b:2",
		"memory://a,b,c?buffer=1": "a,b,c",
	} {
		for len(opened) > 0 {
			<-opened
		}
		pub, err := adapters.Open(t.Context(), raw, nil)
		require.NoError(t, err, raw)
		require.NoError(t, pub.Close())
		assert.Equal(t, want, (<-opened).Host)
	}
	for _, raw := range []string{"memory://a:1,", "memory://a,,b", "memory://a:1,b:x", "memory://a,b@c", "memory://a,b%41"} {
		_, err := adapters.Open(t.Context(), raw, nil)
		if raw != "memory://a,b@c" { // user a,b
			require.ErrorContains(t, err, "host list must be host:port,host:port", raw)
		}
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := fmt.Errorf("publish: %w", adapters.Permanent(cause))
	assert.True(t, adapters.IsPermanent(err))
	require.ErrorIs(t, err, cause)
	assert.EqualError(t, err, "publish: cause")
	assert.NoError(t, adapters.Permanent(nil))
	assert.False(t, adapters.IsPermanent(cause))
	assert.False(t, adapters.IsPermanent(nil))
}
