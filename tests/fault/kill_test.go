// Package fault checks what the outbox promises while processes die, sleep and lose their database.
package fault_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// seed makes a failure repeatable as far as the machine does.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if text := os.Getenv("OUTBOX_TEST_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("OUTBOX_TEST_SEED=%d", s)
	return s
}

func publish(db *sql.DB, msgs ...*message.Message) error {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	p, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
	if err != nil {
		return err
	}
	if err := p.Publish("orders", msgs...); err != nil {
		return err
	}
	return tx.Commit()
}

func keyed(key, payload string) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), []byte(payload))
	outbox.SetAggregate(m, "order", key)
	return m
}

func newFile(t testing.TB) string {
	file := filepath.Join(t.TempDir(), "arrivals")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	return file
}

// Two replicas, killed twenty times at random points while they deliver, now and then both at once, and replaced at once.
func TestKilledForwardersLoseNothingAndKeepOrder(t *testing.T) {
	t.Parallel()
	const kills, keys = 20, 7
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	file := newFile(t)
	rnd := rand.New(rand.NewPCG(seed(t), 1))

	children, started := map[int]*exec.Cmd{}, 0
	begin := func(place int) {
		started++
		children[place] = run(t, assignment{
			Name: fmt.Sprint("child", started), DSN: dsn, File: file, Lease: time.Second, MaxConcurrent: 20, Hold: time.Millisecond, FailEvery: 499,
		})
	}
	begin(0)
	begin(1)

	// Events go on being published, in the order of their keys, while children die.
	stop, published := make(chan struct{}), make(chan int, 1)
	var writers sync.WaitGroup
	writers.Go(func() {
		n := 0
		defer func() { published <- n }()
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-stop:
				return
			case <-pace.C:
			}
			if n*keys-ended(arrivals(t, file)) > 300 {
				continue // far enough ahead
			}
			var batch []*message.Message
			for k := range keys {
				batch = append(batch, keyed(fmt.Sprint(k), fmt.Sprint(n)))
			}
			if err := publish(db, batch...); err != nil {
				t.Error(err)
				return
			}
			n++
		}
	})
	for range kills {
		// The point is a number of arrivals from now.
		target := ended(arrivals(t, file)) + 1 + rnd.IntN(60)
		await.That(t, func() bool { return ended(arrivals(t, file)) >= target })
		victims := []int{rnd.IntN(2)}
		if rnd.IntN(4) == 0 {
			victims = []int{0, 1}
		}
		for _, v := range victims {
			kill(children[v])
			begin(v)
		}
	}
	close(stop)
	writers.Wait()
	n := <-published
	await.That(t, func() bool { return open(t, db) == 0 })

	next, duplicates := map[string]int{}, 0
	for _, a := range arrivals(t, file) {
		if a.what != "end" {
			continue
		}
		got, err := strconv.Atoi(a.payload)
		require.NoError(t, err)
		switch {
		case got < next[a.key]:
			duplicates++
		case got > next[a.key]:
			t.Fatalf("key %s: %d arrived before %d", a.key, got, next[a.key])
		default:
			next[a.key]++
		}
	}
	for k := range keys {
		require.Equal(t, n, next[fmt.Sprint(k)], "key %d", k)
	}
	t.Logf("%d events, %d forwarders, %d duplicates", n*keys, started, duplicates)
	var sent int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM outbox_events WHERE status = 'SENT'").Scan(&sent))
	require.Equal(t, n*keys, sent)
}

// open counts what is not finished.
func open(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM outbox_deliveries)").Scan(&n))
	return n
}
