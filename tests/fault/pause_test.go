package fault_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A process that was stopped for longer than its lease, with deliveries in flight, wakes up when another has taken over: it starts nothing,
// and that its deliveries failed counts for nothing.
func TestForwarderThatSleptPastItsLeaseIsFenced(t *testing.T) {
	t.Parallel()
	const events, inFlight = 200, 8
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	file := newFile(t)
	var batch []*message.Message
	for i := range events {
		batch = append(batch, keyed(fmt.Sprint(i%20), fmt.Sprint(i)))
	}
	require.NoError(t, publish(db, batch...))

	const lease = time.Second
	sleeper := run(t, assignment{
		Name: "sleeper", DSN: dsn, File: file, Lease: lease, MaxConcurrent: inFlight, Hold: 20 * time.Millisecond, FailAfter: lease / 2,
	})
	await.That(t, func() bool { return ended(arrivals(t, file)) > 20 })
	require.NoError(t, sleeper.Process.Signal(syscall.SIGSTOP))
	run(t, assignment{Name: "heir", DSN: dsn, File: file, Lease: lease, MaxConcurrent: 100})
	await.That(t, func() bool { return open(t, db) == 0 })

	before := arrivals(t, file)
	require.NoError(t, sleeper.Process.Signal(syscall.SIGCONT))
	var members int
	await.That(t, func() bool {
		require.NoError(t, db.QueryRow("SELECT count(*) FROM outbox_forwarders").Scan(&members))
		return members == 2 // it found out, and joined again
	})
	// It takes its share of slots in new epochs, which shows that it has settled what it had.
	await.That(t, func() bool {
		var owners int
		require.NoError(t, db.QueryRow("SELECT count(DISTINCT owner) FROM outbox_slots WHERE owner IS NOT NULL").Scan(&owners))
		return owners == 2
	})
	require.NoError(t, publish(db, keyed("last", "last")))
	await.That(t, func() bool {
		return slices.ContainsFunc(arrivals(t, file), func(a arrival) bool { return a.what == "end" && a.key == "last" })
	})

	var deliveries int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM outbox_deliveries").Scan(&deliveries))
	require.Zero(t, deliveries, "a failure was written that nobody has to answer for")
	failures := 0
	for _, a := range arrivals(t, file)[len(before):] {
		// What it had handed over before it slept may still arrive.
		require.True(t, a.key == "last" || a.what != "start", "%s after it woke up: %s %s", a.child, a.what, a.payload)
		if a.what == "failure" {
			failures++
		}
	}
	require.NotZero(t, failures, "nothing was in flight while it slept")
}
