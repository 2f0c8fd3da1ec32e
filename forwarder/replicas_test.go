package forwarder_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// replica starts a forwarder that the test closes itself.
func replica(t testing.TB, db *sql.DB, cfg forwarder.SubscriberConfig, pub message.Publisher) (closed func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": pub}, forwarder.Config{Subscriber: cfg}, logger(t))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	once := false
	closed = func() {
		if once {
			return
		}
		once = true
		cancel()
		require.NoError(t, <-done)
	}
	t.Cleanup(closed)
	return closed
}

// shares returns how many slots each owner has, the smallest first. Slots without an owner are counted under -1.
func shares(t testing.TB, db *sql.DB) []int {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), `SELECT count(*) FILTER (WHERE owner IS NOT NULL), count(*) FILTER (WHERE owner IS NULL)
		FROM outbox_slots GROUP BY owner`)
	require.NoError(t, err)
	defer rows.Close()
	var list []int
	for rows.Next() {
		var n, free int
		require.NoError(t, rows.Scan(&n, &free))
		if free > 0 {
			return []int{-1, free}
		}
		list = append(list, n)
	}
	require.NoError(t, rows.Err())
	slices.Sort(list)
	return list
}

func hasShares(t testing.TB, db *sql.DB, want ...int) {
	t.Helper()
	await.That(t, func() bool { return slices.Equal(shares(t, db), want) }, "want %v", want)
}

// flow publishes events of ten keys until it is stopped, and returns how many.
func flow(t testing.TB, db *sql.DB) (stop func() int) {
	end, published := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { published <- n }()
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-pace.C:
			}
			tx, err := db.Begin()
			if err != nil {
				t.Error(err)
				return
			}
			p, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
			for k := 0; err == nil && k < 10; k++ {
				err = p.Publish("orders", keyed(fmt.Sprint(k), fmt.Sprintf("%d.%d.0", k, i)))
			}
			if err == nil {
				err = tx.Commit()
			}
			if err != nil {
				t.Error(err)
				return
			}
			n += 10
		}
	}()
	return func() int { close(end); return <-published }
}

func (r *recorder) arrive(t testing.TB, topic string, n int) {
	t.Helper()
	await.That(t, func() bool { return r.count(topic) >= n })
}

func TestReplicasShareFairlyAndHandOverWithoutRepeating(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	rec := newRecorder()
	cfg := forwarder.SubscriberConfig{SweepInterval: time.Hour, Lease: 6 * time.Second}
	slow := slowPublisher{rec, 10 * time.Millisecond} // so that there is always something in flight
	first := replica(t, db, cfg, slow)
	hasShares(t, db, 64)
	stop := flow(t, db)
	rec.arrive(t, "orders", 100)
	second := replica(t, db, cfg, slow)
	hasShares(t, db, 32, 32)
	third := replica(t, db, cfg, slow)
	hasShares(t, db, 20, 22, 22)
	rec.arrive(t, "orders", rec.count("orders")+200)
	first()
	hasShares(t, db, 32, 32)
	rec.arrive(t, "orders", rec.count("orders")+200)
	fourth := replica(t, db, cfg, slow)
	hasShares(t, db, 20, 22, 22)
	second()
	third()
	hasShares(t, db, 64)
	n := stop()
	rec.arrive(t, "orders", n)
	fourth()
	require.Equal(t, n, rec.count("orders"), "nothing comes twice")
	requireOrdered(t, rec.payloads("orders"))
	require.Equal(t, map[string]int{"SENT": n}, statuses(t, db))
}

type slowPublisher struct {
	message.Publisher
	takes time.Duration
}

func (p slowPublisher) Publish(topic string, msgs ...*message.Message) error {
	<-time.After(p.takes)
	return p.Publisher.Publish(topic, msgs...)
}

// A slot with an event in flight is not handed over before that has ended.
func TestSlotInFlightIsNotHandedOver(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	key := 0
	for store.Slot("", fmt.Sprint("order:", key)) < 32 { // of those that the first gives away
		key++
	}
	rec := newRecorder()
	stuck := &stuckPublisher{Publisher: rec, began: make(chan struct{}), fail: make(chan struct{}), succeed: true}
	cfg := forwarder.SubscriberConfig{SweepInterval: time.Hour, Lease: 6 * time.Second, PublishTimeout: 2 * time.Second}
	replica(t, db, cfg, stuck)
	hasShares(t, db, 64)
	publish(t, db, "orders", keyed(fmt.Sprint(key), "1"), keyed(fmt.Sprint(key), "2"))
	<-stuck.began
	replica(t, db, cfg, rec)
	hasShares(t, db, 31, 33)
	require.Zero(t, rec.count("orders"))
	close(stuck.fail)
	hasShares(t, db, 32, 32)
	rec.arrives(t, "orders", "2")
	require.Equal(t, []string{"1", "2"}, rec.payloads("orders"))
}

// A forwarder that is cut off from its database stops; another takes its slots when the lease ends; when it is back they share again.
func TestForwarderThatIsCutOffIsReplacedAndComesBack(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	hook := new(testdb.Hook)
	cfg := forwarder.SubscriberConfig{SweepInterval: time.Hour, Lease: time.Second, MaxConcurrent: 10}
	cut, other := newRecorder(), newRecorder()
	replica(t, testdb.Hooked(t, dsn, hook), cfg, cut)
	hasShares(t, db, 64)
	replica(t, db, cfg, other)
	hasShares(t, db, 32, 32)
	stop := flow(t, db)
	cut.arrive(t, "orders", 50)
	hook.Before(func(context.Context, string) error { return errors.New("the network is down") })
	hasShares(t, db, 64)
	after := other.count("orders")
	atCut := cut.count("orders")
	other.arrive(t, "orders", after+200)
	require.Equal(t, atCut, cut.count("orders"), "it publishes nothing without a lease")
	hook.Before(nil)
	hasShares(t, db, 32, 32)
	cut.arrive(t, "orders", atCut+50)
	n := stop()
	await.That(t, func() bool { return statuses(t, db)["SENT"] == n })

	seen := map[string]bool{}
	for _, p := range append(cut.payloads("orders"), other.payloads("orders")...) {
		seen[p] = true
	}
	require.Len(t, seen, n)
	repeated := cut.count("orders") + other.count("orders") - n
	t.Logf("%d events, %d repeated", n, repeated)
	// What was delivered while it could not be written, one batch, and what was in flight.
	require.LessOrEqual(t, repeated, 100)
}

// The lease ends while an event is in flight, and the same forwarder gets the slot again before the event fails. The failure counts for
// nothing, so the event is to be read again, and later ones of its key must not overtake it.
func TestEventThatFailsAfterItsLeaseComesAgainInOrder(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	s, err := store.Open(context.Background(), db, schema.Config{})
	require.NoError(t, err)
	hook, rec := new(testdb.Hook), newRecorder()
	stuck := &stuckPublisher{Publisher: rec, began: make(chan struct{}), fail: make(chan struct{})}
	replica(t, testdb.Hooked(t, dsn, hook), forwarder.SubscriberConfig{SweepInterval: time.Hour, Lease: time.Second}, stuck)
	hasShares(t, db, 64)
	publish(t, db, "orders", keyed("a", "1"), keyed("a", "2"), keyed("a", "3"))
	<-stuck.began

	hook.Before(func(_ context.Context, query string) error {
		if strings.Contains(query, "SET expires_at") {
			return errors.New("renewals are cut off")
		}
		return nil
	})
	await.That(t, func() bool {
		members, err := s.Members(context.Background(), "default") // declares the dead dead, as another forwarder does
		return err == nil && len(members) == 0
	})
	hook.Before(nil)
	hasShares(t, db, 64)
	publish(t, db, "orders", keyed("b", "other"))
	rec.arrives(t, "orders", "other") // it has read its slots anew
	close(stuck.fail)
	rec.arrives(t, "orders", "3")
	require.Equal(t, []string{"other", "1", "2", "3"}, rec.payloads("orders"))
	await.That(t, func() bool { return statuses(t, db)["SENT"] == 4 })
}

// Slots were taken, but the connection broke before the answer came. Nobody else can have them while the lease is renewed.
func TestSlotsThatWereTakenWithoutAnAnswerAreServed(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	hook, rec := new(testdb.Hook), newRecorder()
	var taking, lost atomic.Bool
	hook.Before(func(_ context.Context, query string) error {
		if strings.Contains(query, "SET owner = $2") {
			taking.Store(true)
		}
		return nil
	})
	hook.After(func(_ context.Context, query string) error {
		if query == "commit" && taking.Load() && lost.CompareAndSwap(false, true) {
			return errors.New("the answer was lost")
		}
		return nil
	})
	publish(t, db, "orders", keyed("a", "1"))
	replica(t, testdb.Hooked(t, dsn, hook), forwarder.SubscriberConfig{SweepInterval: time.Hour}, rec)
	rec.arrives(t, "orders", "1")
	require.True(t, lost.Load())
}

// stuckPublisher takes no notice of contexts: its first message waits until fail is closed, and fails.
type stuckPublisher struct {
	message.Publisher
	began, fail chan struct{}
	succeed     bool // after all
	once        atomic.Bool
}

func (p *stuckPublisher) Publish(topic string, msgs ...*message.Message) error {
	if string(msgs[0].Payload) == "1" && p.once.CompareAndSwap(false, true) {
		close(p.began)
		<-p.fail
		if !p.succeed {
			return errors.New("too late")
		}
	}
	return p.Publisher.Publish(topic, msgs...)
}
