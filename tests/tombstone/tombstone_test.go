// Package tombstone follows events without a payload from the table to brokers.
package tombstone_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"

	_ "github.com/bento-outbox/watermill-outbox/adapters/http"

	// scheme http
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka"

	// scheme kafka
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// scheme redis

// events are stored in this order; those without a payload by SQL and by the publisher.
var events = []string{"sql", "publisher", "empty by sql", "empty by publisher"}

func insert(t *testing.T, db *sql.DB, config string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (id, topic, tombstone, payload, aggregate_type, aggregate_id, routing_config) VALUES
		('sql', 't', true, NULL, 'order', 'sql', $1), ('empty by sql', 't', false, '', 'order', 'empty by sql', $1)`, config)
	require.NoError(t, err)
	d, err := schema.DialectOf(db)
	require.NoError(t, err)
	p, err := outbox.NewPublisher(db, outbox.Config{Dialect: d}, nil)
	require.NoError(t, err)
	for id, payload := range map[string][]byte{"publisher": nil, "empty by publisher": {}} {
		m := message.NewMessage(id, payload)
		outbox.SetAggregate(m, "order", id)
		outbox.SetRoutingConfig(m, []byte(config), "")
		require.NoError(t, p.Publish("t", m))
	}
}

// forward delivers what is stored to the publisher that url opens, under the name to.
func forward(t *testing.T, db *sql.DB, url string) {
	t.Helper()
	pub, err := adapters.Open(t.Context(), url, watermill.NopLogger{})
	require.NoError(t, err)
	defer func() { require.NoError(t, pub.Close()) }()
	f, err := forwarder.New(db, map[string]message.Publisher{"to": pub}, forwarder.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, f.Drain(t.Context()))
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM outbox_deliveries)`).Scan(&left))
	require.Zero(t, left)
}

// A topic that compacts forgets a key by a null value, and by nothing else.
func TestKafkaGetsNull(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		url := os.Getenv("OUTBOX_TEST_KAFKA_URL")
		if url == "" {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			url = "kafka://" + cluster.ListenAddrs()[0]
		}
		topic := fmt.Sprintf("tombstone-%d", time.Now().UnixNano())
		client, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimPrefix(url, "kafka://")), kgo.ConsumeTopics(topic))
		require.NoError(t, err)
		defer client.Close()
		_, err = kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, topic)
		require.NoError(t, err)

		insert(t, db, `{"targets":[{"destination":"to://`+topic+`"}]}`)
		forward(t, db, url)

		values := map[string][]byte{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for len(values) < len(events) {
			fetches := client.PollFetches(ctx)
			require.NoError(t, fetches.Err0())
			fetches.EachRecord(func(r *kgo.Record) { values[string(r.Key)] = r.Value })
		}
		require.Equal(t, map[string][]byte{"sql": nil, "publisher": nil, "empty by sql": {}, "empty by publisher": {}}, values)
	})
}

// What has no null gets nothing at all as the payload; conditions find no field, and a transform has nothing to change.
func TestOthersGetAnEmptyPayload(t *testing.T) {
	t.Parallel()
	const rules = `"conditions":{"payload.total":{"$exists":false,"$ne":5}}`
	t.Run("webhook", func(t *testing.T) {
		t.Parallel()
		db := testdb.SQLite(t)
		var mu sync.Mutex
		got := map[string]string{}
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got[r.Header.Get("outbox-key")] = fmt.Sprint(len(body), err)
		}))
		defer server.Close()
		insert(t, db, `{"targets":[{"destination":"to://hook",`+rules+`}]}`)
		forward(t, db, server.URL)
		require.Equal(t, map[string]string{"sql": "0 <nil>", "publisher": "0 <nil>", "empty by sql": "0 <nil>", "empty by publisher": "0 <nil>"}, got)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		url := os.Getenv("OUTBOX_TEST_REDIS_URL")
		if url == "" {
			t.Skip("skipped: OUTBOX_TEST_REDIS_URL names no server; make test starts one")
		}
		db := testdb.SQLite(t)
		options, err := redis.ParseURL(url)
		require.NoError(t, err)
		client := redis.NewClient(options)
		defer func() { require.NoError(t, client.Close()) }()
		stream := fmt.Sprintf("tombstone-%d", time.Now().UnixNano())
		defer client.Del(context.Background(), stream)
		insert(t, db, `{"targets":[{"destination":"to://`+stream+`",`+rules+`}]}`)
		forward(t, db, url)
		list, err := client.XRange(t.Context(), stream, "-", "+").Result()
		require.NoError(t, err)
		require.Len(t, list, len(events))
		for _, entry := range list {
			require.Equal(t, "", entry.Values["payload"])
		}
	})
	t.Run("transform", func(t *testing.T) {
		t.Parallel()
		db := testdb.SQLite(t)
		var mu sync.Mutex
		var got []string
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(r.Header.Get("outbox-key"), r.ContentLength))
		}))
		defer server.Close()
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, tombstone, aggregate_id, routing_config) VALUES ('t', true, 'k', $1)`,
			`{"targets":[{"destination":"to://hook","transform":{"include_fields":["a"],"add_fields":{"b":1}}}]}`)
		require.NoError(t, err)
		forward(t, db, server.URL)
		require.Equal(t, []string{"k0"}, got)
	})
}
