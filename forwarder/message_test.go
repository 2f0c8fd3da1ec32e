package forwarder

import (
	"testing"

	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// A message says of its event what the columns say, whatever metadata says. Escapes get it past the check of an INSERT.
func TestMetadataForgesNoHeader(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{
		`{"outbox_tenant_id":"forged","outbox_key":"forged","outbox_cause":"forged","outbox_target":"forged","mine":"1"}`,
		`{"\u006futbox_tenant_id":"forged","outbox\u005fkey":"forged","mine":"1"}`, `{ "outbox_tenant_id" : "forged", "outbox_aggregate_id": {"a":1}, "mine": 1 }`,
	} {
		e := store.Event{Seq: 1, ID: "1", Topic: "t", Metadata: metadata}
		msg, err := messageOf(&e, "identity")
		require.NoError(t, err)
		for k, v := range msg.Metadata {
			require.NotContains(t, v, "forged", k)
		}
		require.Equal(t, "1", msg.Metadata["mine"])
		require.Empty(t, outbox.Tenant(msg))
		require.NotContains(t, msg.Metadata, outbox.KeyAggregateID)
	}
}

func TestMetadataOfOtherTypesIsCarriedAsJSON(t *testing.T) {
	t.Parallel()
	e := store.Event{Seq: 1, ID: "1", Topic: "t", Metadata: `{"n":1,"s":"t"}`}
	msg, err := messageOf(&e, "identity")
	require.NoError(t, err)
	require.Equal(t, "1", msg.Metadata["n"])
	require.Equal(t, "t", msg.Metadata["s"])
}
