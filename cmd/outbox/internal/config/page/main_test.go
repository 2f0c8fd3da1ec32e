package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

func TestPageIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := render()
	require.NoError(t, err)
	got, err := os.ReadFile("../../../../../docs/configuration.md")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run: go generate ./... in cmd/outbox")
	for _, s := range config.Settings() {
		require.Equal(t, 1, strings.Count(string(got), "| `"+s.Env+"` |"), s.Key)
		require.NotEmpty(t, s.Help, s.Key)
		for _, choice := range s.Choices() {
			require.Contains(t, string(got), "`"+choice+"`", s.Key)
		}
	}
}
