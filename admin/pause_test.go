package admin_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestPauseRefusesWhatCannotBePaused(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		client, err := admin.NewClient(t.Context(), db, schema.Config{})
		require.NoError(t, err)
		for _, kind := range []admin.Kind{"bogus", "unreachable", ""} { // forwarders note what is unreachable
			require.ErrorContains(t, client.Pause(t.Context(), kind, "a://", ""), "want destination, tenant or key")
			require.ErrorContains(t, client.Resume(t.Context(), kind, "a://"), "want destination, tenant or key")
		}
		for _, kind := range []admin.Kind{admin.Destination, admin.Key} {
			require.ErrorContains(t, client.Pause(t.Context(), kind, "", ""), "without a name")
		}
		require.NoError(t, client.Pause(t.Context(), admin.Tenant, "", "events of no tenant"))
		pauses, err := client.Pauses(t.Context())
		require.NoError(t, err)
		require.Len(t, pauses, 1)
		require.Equal(t, "events of no tenant", pauses[0].Reason)
	})
}
