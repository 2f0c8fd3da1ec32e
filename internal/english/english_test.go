package english_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/english"
)

func TestCount(t *testing.T) {
	t.Parallel()
	require.Equal(t, "0 events", english.Count(0, "event", "events"))
	require.Equal(t, "1 event", english.Count(int64(1), "event", "events"))
	require.Equal(t, "2 events", english.Count(2, "event", "events"))
	require.Equal(t, "waits", english.Either(1, "waits", "wait"))
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"shop://orders": "shop://orders", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		require.Equal(t, want, english.ShellWord(text))
	}
}
