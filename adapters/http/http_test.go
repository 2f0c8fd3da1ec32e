package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"
)

func TestOpenFaults(t *testing.T) {
	cases := map[string]struct {
		url  string
		want []string
	}{
		"all at once": {
			"http://u:secret@h?timout=1s&append_topic=x&header.a%20b=secret&header.X=%0asecret&token=secret",
			[]string{"did you mean timeout?", "append_topic", `"a b" cannot be the name of a header`, "value of header X", `unknown option "token"`},
		},
		"several hosts":         {"http://a:1,b:2", []string{"with one host"}},
		"no host":               {"http:///hooks", []string{"with one host"}},
		"tls files without tls": {"http://h?tls_ca=/nonexistent", []string{"use the scheme https"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := adapters.Open(t.Context(), c.url, nil)
			require.Error(t, err)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "secret")
		})
	}
	_, err := webhook.NewPublisher(webhook.Config{URL: "http://u:secret@h:port", Timeout: -1, ContentType: "a\nb"}, nil)
	require.EqualError(t, err, "http publisher: URL must be http or https, with one host\nTimeout is negative\ncontent type has characters that a header cannot have")
}

// post publishes msg and returns the request that arrived.
func post(t *testing.T, options, topic string, msg *message.Message) (*http.Request, string) {
	t.Helper()
	type arrived struct {
		*http.Request
		body string
	}
	requests := make(chan arrived, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		requests <- arrived{r, string(body)}
	}))
	defer server.Close()
	pub, err := adapters.Open(t.Context(), strings.Replace(server.URL, "http://", "http://user:pass%2Fword@", 1)+options, nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, pub.Close()) }()
	require.NoError(t, pub.Publish(topic, msg))
	r := <-requests
	return r.Request, r.body
}

func TestRequest(t *testing.T) {
	msg := message.NewMessage("uuid/1", []byte(`{"a":1}`))
	msg.Metadata = message.Metadata{
		outbox.KeyID: "table:7", outbox.KeyTenantID: "t-1", "correlation_id": "c", "traceparent": "00-1", "Any Key": "ü😀",
	}
	r, body := post(t, "/hooks/?header.Authorization=Bearer%20t&query.token=x", "orders/created", msg)
	assert.Equal(t, http.MethodPost, r.Method)
	assert.Equal(t, "/hooks/orders%2Fcreated?token=x", r.URL.RequestURI())
	assert.Equal(t, `{"a":1}`, body)
	want := map[string]string{
		"Content-Type": "application/json", "Message-Topic": "orders%2Fcreated", "Message-Uuid": "uuid%2F1",
		"Idempotency-Key": "table:7", "Outbox-Id": "table:7", "Outbox-Tenant-Id": "t-1", "Traceparent": "00-1",
		"Message-Metadata-Correlation-Id": "c", "Message-Metadata": `{"Any Key":"\u00fc\ud83d\ude00"}`, "Authorization": "Bearer t",
	}
	for name, value := range want {
		assert.Equal(t, value, r.Header.Get(name), name)
	}
}

func TestRequestToFixedURL(t *testing.T) {
	r, body := post(t, "/services/T0?append_topic=false&content_type=text/plain", "orders/../x", message.NewMessage("1", []byte("text")))
	assert.Equal(t, "/services/T0", r.URL.RequestURI())
	assert.Equal(t, "text", body)
	assert.Equal(t, "text/plain", r.Header.Get("Content-Type"))
	assert.Equal(t, "orders%2F..%2Fx", r.Header.Get("Message-Topic"))
	assert.Equal(t, "1", r.Header.Get("Idempotency-Key"))
	user, password, _ := r.BasicAuth()
	assert.Equal(t, "user pass/word", user+" "+password)
}

func TestContentTypeOfBytes(t *testing.T) {
	r, _ := post(t, "", "t", message.NewMessage("1", []byte{0xff}))
	assert.Equal(t, "application/octet-stream", r.Header.Get("Content-Type"))
}

func TestTopicThatIsNoPath(t *testing.T) {
	pub, err := adapters.Open(t.Context(), "http://127.0.0.1:1/hooks", nil)
	require.NoError(t, err)
	for _, topic := range []string{"", ".", ".."} {
		assert.True(t, adapters.IsPermanent(pub.Publish(topic, message.NewMessage("1", nil))), topic)
	}
}

func TestStatus(t *testing.T) {
	for status, want := range map[int]adapters.Verdict{
		301: adapters.BlameTopic, 307: adapters.BlameTopic, 304: adapters.BlameTopic,
		400: adapters.BlameMessage, 409: adapters.BlameMessage, 410: adapters.BlameMessage, 413: adapters.BlameMessage, 422: adapters.BlameMessage,
		401: adapters.BlamePublisher, 402: adapters.BlamePublisher, 407: adapters.BlamePublisher, 421: adapters.BlamePublisher, 429: adapters.BlamePublisher,
		403: adapters.BlameTopic, 404: adapters.BlameTopic, 405: adapters.BlameTopic,
		408: adapters.BlameUnknown, 425: adapters.BlameUnknown, 500: adapters.BlameUnknown, 501: adapters.BlameUnknown, 599: adapters.BlameUnknown,
		502: adapters.BlamePublisher, 503: adapters.BlamePublisher, 507: adapters.BlamePublisher, 511: adapters.BlamePublisher, 522: adapters.BlamePublisher,
		529: adapters.BlamePublisher, 504: adapters.BlameSilence, 524: adapters.BlameSilence,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "secret "+strings.Repeat("x", 1000))
			}))
			defer server.Close()
			pub, err := adapters.Open(t.Context(), server.URL+"?query.token=secret", nil)
			require.NoError(t, err)
			defer func() { assert.NoError(t, pub.Close()) }()

			err = pub.Publish("t", message.NewMessage("1", []byte("secret")))
			var answer *webhook.StatusError
			require.ErrorAs(t, err, &answer)
			assert.Equal(t, status, answer.StatusCode)
			assert.Equal(t, want, adapters.Blame(err))
			assert.Equal(t, 1, calls, "redirects are not followed")
			assert.Zero(t, answer.RetryAfter())
			assert.NotContains(t, err.Error(), "secret")
			assert.NotRegexp(t, ` $`, err.Error())
		})
	}
}

func TestRetryAfter(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 7 ": 7 * time.Second, "0": 0, "007": 7 * time.Second,
		"2147483647": 2147483647 * time.Second, "99999999999": forever, strings.Repeat("9", 500): forever,
		in(time.Hour): time.Hour, "Fri, 31 Dec 9999 23:59:59 GMT": forever,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0, "-5": 0, "1.5": 0, "+5": 0, "soon": 0, "5 s": 0, "0x10": 0, "\u0665": 0, "Mon, 99 Jan 2006": 0,
	} {
		t.Run(text[:min(len(text), 40)], func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", text)
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer server.Close()
			pub, err := adapters.Open(t.Context(), server.URL, nil)
			require.NoError(t, err)
			defer func() { assert.NoError(t, pub.Close()) }()
			var answer *webhook.StatusError
			require.ErrorAs(t, pub.Publish("t", message.NewMessage("1", nil)), &answer)
			assert.InDelta(t, want.Seconds(), answer.RetryAfter().Seconds(), 60)
		})
	}
}

// What comes back is no answer of HTTP, or no connection comes about.
func TestConnectionFailuresAreTheServers(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer secure.Close()
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = garbage.Close() }()
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
			_ = conn.Close()
		}
	}()
	for name, url := range map[string]string{
		"refused": "http://127.0.0.1:1", "no such name": "http://nowhere.invalid", "TLS to a plain server": strings.Replace(plain.URL, "http:", "https:", 1),
		"unknown authority": secure.URL,
		"another protocol":  "http://" + garbage.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			pub, err := adapters.Open(t.Context(), url, nil)
			require.NoError(t, err)
			defer func() { assert.NoError(t, pub.Close()) }()
			err = pub.Publish("t", message.NewMessage("1", nil))
			assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
		})
	}
}

// A deadline must not hide that there was no connection yet: silence would count as an attempt of the message.
func TestDeadlineBeforeTheConnectionIsTheServers(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and shakes no hands
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	dials := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		<-ended // a name that is not resolved, or packets that are dropped
		return nil, errors.New("the test is over")
	}}}
	for name, config := range map[string]webhook.Config{
		"TLS handshake": {URL: "https://" + silent.Addr().String()},
		"dial":          {URL: "http://example.com", Client: dials},
	} {
		for _, patience := range []string{"Timeout", "context"} {
			t.Run(name+", "+patience, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				config := config
				if patience == "Timeout" {
					config.Timeout = 100 * time.Millisecond
				} else {
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				}
				defer cancel()
				pub, err := webhook.NewPublisher(config, nil)
				require.NoError(t, err)
				defer func() { assert.NoError(t, pub.Close()) }()
				msg := message.NewMessage("1", nil)
				msg.SetContext(ctx)
				err = pub.Publish("t", msg)
				assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
			})
		}
	}
}

func TestConnectionErrorsHideTheURL(t *testing.T) {
	pub, err := adapters.Open(t.Context(), "http://user:secret@127.0.0.1:1/secret?query.token=secret", nil)
	require.NoError(t, err)
	err = pub.Publish("t", message.NewMessage("1", nil))
	require.ErrorContains(t, err, "127.0.0.1:1")
	assert.NotContains(t, err.Error(), "secret")
	assert.False(t, adapters.IsPermanent(err))
}

func TestAnswerWithoutEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 10_000)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	pub, err := adapters.Open(t.Context(), server.URL, nil)
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, pub.Publish("t", message.NewMessage("1", nil)))
	assert.Less(t, time.Since(start), 5*time.Second)
	require.NoError(t, pub.Close())
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	pub, err := adapters.Open(t.Context(), server.URL, nil)
	require.NoError(t, err)
	err = pub.Publish("t", message.NewMessage("1", nil))
	require.ErrorContains(t, err, "certificate")
	require.NoError(t, pub.Close())

	own, err := webhook.NewPublisher(webhook.Config{URL: server.URL, Client: server.Client()}, nil)
	require.NoError(t, err)
	require.NoError(t, own.Publish("t", message.NewMessage("1", nil)))
	require.NoError(t, own.Close())
}

func TestUnmarshalMessageFaults(t *testing.T) {
	for name, header := range map[string]http.Header{
		"uuid":     {"Message-Uuid": {"%zz"}},
		"metadata": {"Message-Metadata": {`{"a":1}`}},
	} {
		_, err := webhook.UnmarshalMessage("t", &http.Request{Header: header, Body: http.NoBody})
		assert.Error(t, err, name)
	}
	msg, err := webhook.UnmarshalMessage("t", &http.Request{
		Header: http.Header{"Message-Metadata": {"null"}, "Message-Metadata-A": {"1"}}, Body: http.NoBody,
	})
	require.NoError(t, err)
	assert.Equal(t, message.Metadata{"a": "1"}, msg.Metadata)
}

func FuzzHeaders(f *testing.F) {
	f.Add("outbox_id", "1", "uuid")
	f.Add("Mixed-Case", "ü\n", "a/b c")
	f.Add("message_metadata_x", "", "%")
	f.Add("a__b_", "\\\"\x7f", "")
	f.Fuzz(func(t *testing.T, key, value, uuid string) {
		valid := func(s string) bool {
			var got string
			b, _ := json.Marshal(s)
			return json.Unmarshal(b, &got) == nil && got == s
		}
		if !valid(key) || !valid(value) {
			t.Skip("publishing refuses text that is no UTF-8")
		}
		msg := message.NewMessage(uuid, nil)
		msg.Metadata.Set(key, value)
		hook := newReceiver(t)
		pub, err := webhook.NewPublisher(webhook.Config{URL: hook.URL}, nil)
		require.NoError(t, err)
		require.NoError(t, pub.Publish("t", msg))
		require.NoError(t, pub.Close())
		got := hook.received("t")[0]
		assert.Equal(t, uuid, got.UUID)
		assert.Equal(t, msg.Metadata, got.Metadata)
	})
}
