package await_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

func TestThatEndsEarlyAndAsksAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	await.That(t, func() bool { asked++; return asked == 3 })
	require.Equal(t, 3, asked)
}
