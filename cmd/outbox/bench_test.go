package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchPrintsATable(t *testing.T) {
	url := os.Getenv("OUTBOX_TEST_POSTGRES_URL")
	if url == "" {
		t.Skip("OUTBOX_TEST_POSTGRES_URL is not set")
	}
	r := outbox("bench", "--database-url", url, "--events", "1000", "--repeats", "1").require(t, statusDone)
	require.Contains(t, r.stdout, "| destination | backlog | stock | ours | ratio | note |")
	require.Contains(t, r.stdout, "| nothing | 1000 |")
}

func TestBenchListsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	r := outbox("bench", "--database-url", "sqlite:x.db", "--events", "many", "--payload", "3").require(t, statusUsage)
	for _, what := range []string{"--events", "--payload", "needs PostgreSQL"} {
		require.Contains(t, r.stderr, what)
	}
	r = outbox("bench", "--database-url", "postgres://localhost/x", "--to", "moon,redis", "--systems", "theirs").require(t, statusUsage)
	for _, what := range []string{"moon", "Redis", "theirs"} {
		require.Contains(t, r.stderr, what)
	}
}
