package http_test

import (
	"database/sql"
	"fmt"
	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"
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
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
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
		Database: func(t *testing.T) *sql.DB { return testdb.SQLite(t) },
		Refusals: []adapterstest.Refusal{
			hook.refusal("service unavailable", http.StatusServiceUnavailable, false),
			hook.refusal("rate limit", http.StatusTooManyRequests, false),
			hook.refusal("secret was changed", http.StatusUnauthorized, false),
			hook.refusal("bad gateway", http.StatusBadGateway, false),
			hook.refusal("forbidden", http.StatusForbidden, true),
			hook.refusal("not deployed", http.StatusNotFound, true),
			hook.refusal("moved", http.StatusPermanentRedirect, true),
		},
	})
}

// refusal makes the receiver answer status, to one topic or to all.
func (r *receiver) refusal(name string, status int, topicOnly bool) adapterstest.Refusal {
	set := func(status int) func(*testing.T, string) {
		return func(_ *testing.T, topic string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.status, r.refused = status, topic; !topicOnly {
				r.refused = ""
			}
		}
	}
	return adapterstest.Refusal{Name: name, Says: fmt.Sprint(status), TopicOnly: topicOnly, Begin: set(status), End: set(0)}
}

// receiver keeps what is posted to it.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	records map[string][]adapterstest.Record
	status  int    // what it answers, 0 when it takes what comes
	refused string // the topic that it answers so; empty for all
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
		if r.status != 0 && (r.refused == "" || r.refused == topic) {
			w.WriteHeader(r.status)
			return
		}
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
