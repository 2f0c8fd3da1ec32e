package http_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	hook := newReceiver(t)
	relay := adapterstest.NewRelay(t, hook.Listener.Addr().String())
	adapterstest.Run(t, adapterstest.Harness{
		Open: func(t *testing.T) message.Publisher {
			pub, err := adapters.Open(t.Context(), "http://"+relay.Addr+"/hooks?timeout=2s", watermill.NopLogger{})
			require.NoError(t, err)
			return pub
		},
		Received: func(_ *testing.T, topic string) []adapterstest.Record { return hook.received(topic) },
		Shared: func(t *testing.T) (message.Publisher, func() error) {
			client := hook.Client()
			pub, err := webhook.NewPublisher(webhook.Config{URL: hook.URL + "/hooks", Client: client}, nil)
			require.NoError(t, err)
			return pub, func() error {
				resp, err := client.Get(hook.URL)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
		},
		Down: relay.Down, Up: relay.Up, Hang: relay.Hang,
	})
}

// receiver keeps what is posted to it.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	records map[string][]adapterstest.Record
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{records: make(map[string][]adapterstest.Record)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPost {
			return
		}
		topic, err := url.PathUnescape(path.Base(req.URL.EscapedPath()))
		if !assert.NoError(t, err) {
			return
		}
		msg, err := webhook.UnmarshalMessage(topic, req)
		if err != nil {
			http.Error(w, "incomplete", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.records[topic] = append(r.records[topic], adapterstest.Record{UUID: msg.UUID, Payload: msg.Payload, Metadata: msg.Metadata})
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) received(topic string) []adapterstest.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records[topic])
}
