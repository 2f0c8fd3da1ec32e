package http_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"
	"github.com/bento-outbox/watermill-outbox/schema"
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
		schema.KeyID: "table:7", schema.KeyTenantID: "t-1", "correlation_id": "c", "traceparent": "00-1", "Any Key": "ü😀",
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
	date := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	cases := []struct {
		status    int
		after     string
		permanent bool
		wait      time.Duration
	}{
		{http.StatusMovedPermanently, "", true, 0},
		{http.StatusTemporaryRedirect, "", true, 0},
		{http.StatusBadRequest, "", true, 0},
		{http.StatusUnauthorized, "", true, 0},
		{http.StatusNotFound, "", true, 0},
		{http.StatusRequestEntityTooLarge, "", true, 0},
		{http.StatusRequestTimeout, "", false, 0},
		{http.StatusTooEarly, "", false, 0},
		{http.StatusTooManyRequests, "7", false, 7 * time.Second},
		{http.StatusTooManyRequests, "soon", false, 0},
		{http.StatusTooManyRequests, "-5", false, 0},
		{http.StatusInternalServerError, "", false, 0},
		{http.StatusServiceUnavailable, date, false, time.Hour},
		{http.StatusServiceUnavailable, "Mon, 02 Jan 2006 15:04:05 GMT", false, 0},
	}
	for _, c := range cases {
		t.Run(http.StatusText(c.status)+" "+c.after, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("Location", "/elsewhere")
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, "secret "+strings.Repeat("x", 1000))
			}))
			defer server.Close()
			pub, err := adapters.Open(t.Context(), server.URL+"?query.token=secret", nil)
			require.NoError(t, err)
			defer func() { assert.NoError(t, pub.Close()) }()

			err = pub.Publish("t", message.NewMessage("1", []byte("secret")))
			var status *webhook.StatusError
			require.ErrorAs(t, err, &status)
			assert.Equal(t, c.status, status.StatusCode)
			assert.Equal(t, c.permanent, adapters.IsPermanent(err))
			assert.InDelta(t, c.wait.Seconds(), status.RetryAfter().Seconds(), 10)
			assert.Equal(t, 1, calls, "redirects are not followed")
			assert.NotContains(t, err.Error(), "secret")
		})
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
