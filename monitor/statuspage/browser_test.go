package statuspage_test

import (
	"context"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// The page's script runs in a browser under the page's own content security policy: it draws both plots and refreshes the numbers.
func TestPageInChromium(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: starts a browser")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: chromium is not installed")
	}
	db := testdb.SQLite(t)
	s := open(t, db, statuspage.Config{Token: token})
	bury(t, db, "3")
	server := httptest.NewServer(s.h)
	defer server.Close()
	for _, width := range []string{"1280,900", "390,844"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
			"--window-size="+width, "--enable-logging=stderr", "--virtual-time-budget=12000", "--dump-dom", server.URL+"/outbox/")
		var faults strings.Builder
		cmd.Stderr = &faults
		out, err := cmd.Output()
		require.NoError(t, err, "%s", faults.String())
		dom := string(out)
		require.NotContains(t, faults.String(), "CONSOLE", "the script or the policy complains")
		require.Equal(t, 2, strings.Count(dom, "<canvas"), dom)
		require.Contains(t, dom, `data-action="discard"`)
		require.NotContains(t, dom, `class="failed"`)
	}
}
