package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
)

func TestPrintsTheEventOnce(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)

	var line struct {
		Topic    string
		Metadata map[string]string
		Payload  json.RawMessage
	}
	require.NoError(t, json.Unmarshal(out, &line), "%s", out)
	require.Equal(t, "orders.placed", line.Topic)
	require.JSONEq(t, `{"id":"order-1","total":4200}`, string(line.Payload))
	require.Equal(t, "order-1", line.Metadata[outbox.KeyOrdering])
}
