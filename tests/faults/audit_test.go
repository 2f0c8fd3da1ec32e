package faults_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
	"github.com/bento-outbox/watermill-outbox/tests/faults"
)

// servers starts servers for a test, or skips it where they are not installed.
func servers(t *testing.T) *faults.Servers {
	t.Helper()
	if os.Getenv("OUTBOX_TEST_AUDIT") == "" {
		t.Skip("skipped: OUTBOX_TEST_AUDIT is not set; the audit wants the machine to itself for some minutes")
	}
	if testing.Short() {
		t.Skip("skipped with -short: it starts PostgreSQL, Redis and Kafka")
	}
	dir, err := os.MkdirTemp("", "outbox-faults-") // that of the test is not for other users
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("logs are in", dir)
			return
		}
		require.NoError(t, os.RemoveAll(dir))
	})
	s, err := faults.StartServers(t.Context(), dir)
	if errors.Is(err, testserver.ErrMissing) {
		t.Skip("skipped: ", err)
	}
	require.NoError(t, err)
	t.Cleanup(s.Close)
	t.Log(s.KafkaName())
	return s
}

func seed(t *testing.T) uint64 {
	s := rand.Uint64()
	if text := os.Getenv("OUTBOX_TEST_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("OUTBOX_TEST_SEED=%d", s)
	return s
}

// The short audit: three minutes, half of it where CI is set.
func TestPromisesAreKept(t *testing.T) {
	s := servers(t)
	duration := 3 * time.Minute
	if os.Getenv("CI") != "" {
		duration = 90 * time.Second
	}
	result, err := faults.Run(t.Context(), s, faults.Config{Seed: seed(t), Duration: duration, Routers: 1, Log: logWriter{t}})
	require.NoError(t, err)
	t.Log("\n" + result.Markdown())
	require.Empty(t, result.Failures())
}

// A forwarder that breaks a promise must be found out, each in a run of its own.
func TestBrokenForwardersAreFoundOut(t *testing.T) {
	s := servers(t)
	const lease = 2 * time.Second
	t.Run("runs", func(t *testing.T) {
		for _, c := range []struct {
			broken faults.Broken
			kinds  []faults.Kind
			want   []faults.Violation
		}{
			{faults.SettlesFirst, []faults.Kind{faults.KillOne, faults.KillAll}, []faults.Violation{faults.Lost}},
			{faults.IgnoresLease, []faults.Kind{}, []faults.Violation{faults.StaleOwner, faults.Unexplained}},
			{faults.DropsOrder, []faults.Kind{}, []faults.Violation{faults.OutOfOrder}},
			{faults.ForgetsLate, []faults.Kind{}, []faults.Violation{faults.Lost}},
			{"", []faults.Kind{}, nil}, // the control: nothing is broken, no fault is applied
		} {
			t.Run(cmp.Or(string(c.broken), "not broken"), func(t *testing.T) {
				t.Parallel()
				result, err := faults.Run(context.WithoutCancel(t.Context()), s, faults.Config{
					Seed: seed(t), Duration: 12 * time.Second, Kinds: c.kinds, Lease: lease, Rate: 60, Broken: c.broken, Patience: 5 * time.Second,
				})
				require.NoError(t, err)
				t.Log(result.Verdict.Violations())
				if c.want == nil {
					require.Empty(t, result.Failures())
				}
				for _, kind := range c.want {
					require.NotZero(t, result.Verdict.Violations()[kind], "not found out")
					t.Log(strings.Join(result.Verdict.Examples(kind), "\n"))
				}
			})
		}
	})
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
