package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimeIsLeftWhileBothClocksSayIt(t *testing.T) {
	t.Parallel()
	start := Now()
	end := start.after(time.Minute)
	at := func(monotonic, wall time.Duration) Instant {
		return Instant{monotonic: start.monotonic.Add(monotonic), wall: start.wall.Add(wall)}
	}
	for name, c := range map[string]struct {
		now  Instant
		left time.Duration
	}{
		"at the start":              {start, time.Minute},
		"as usual":                  {at(10*time.Second, 10*time.Second), 50 * time.Second},
		"the machine was suspended": {at(10*time.Second, time.Hour), time.Minute - time.Hour},
		"the wall clock was set":    {at(2*time.Minute, -time.Hour), -time.Minute},
	} {
		require.Equal(t, c.left, end.left(c.now), name)
	}
}
