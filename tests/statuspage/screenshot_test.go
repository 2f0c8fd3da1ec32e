package statuspage_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// TestScreenshot makes the picture of docs/monitoring.md: an outbox with something of everything.
func TestScreenshot(t *testing.T) {
	file := os.Getenv("OUTBOX_TEST_SCREENSHOT")
	if file == "" {
		t.Skip("skipped: OUTBOX_TEST_SCREENSHOT names no file to write; make status-page does")
	}
	chromium := browser(t)
	db := testdb.SQLite(t)
	s := open(t, db)
	s.refuses.Store(true)
	insert(t, db, "a")
	insert(t, db, "b")
	becomes(t, db, "b", "DEAD")
	s.refuses.Store(false)
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	require.NoError(t, st.Pause(t.Context(), store.PausedTenant, "acme", "asked for by the customer"))
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	p.do(chromedp.EmulateViewport(1000, 1500))
	p.click("#token")
	p.press(token)
	p.click("#unlock button")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range 600 {
		<-tick.C
		execute(t, db, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO outbox (tenant_id, topic, payload, routing_key)
			SELECT CASE WHEN i %% 10 = 0 THEN 'acme' ELSE 'zoo' END, 'orders', '{}', 'shop://orders' FROM n`, 8+i%97/8))
	}
	as := value[string](p, `document.querySelector("time").dateTime`)
	p.wait(`document.querySelector("time").dateTime !== ` + quoted(as))
	p.wait(painted)
	picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, picture, 0o644))
}
