package seldom_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

func TestLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := seldom.New(time.Minute)
		says := func(wantHushed int, wantDue bool) {
			t.Helper()
			hushed, due := l.Due()
			require.Equal(t, wantDue, due)
			require.Equal(t, wantHushed, hushed)
		}
		says(0, true)
		says(0, false)
		time.Sleep(time.Minute - 1) // of the bubble's clock
		says(0, false)
		time.Sleep(time.Nanosecond)
		says(2, true)
		says(0, false)
	})
}
