package statuspage_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One browser is enough: each test has a tab of its own that shares nothing with the others.
func TestStatusPage(t *testing.T) {
	chromium := browser(t)
	for name, test := range map[string]func(*testing.T, *sql.DB, context.Context){
		"keyboard": testKeyboard, "asked again": testAskedAgain, "locked": testLocked, "wrong token": testWrongToken, "looks": testLooks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, testdb.SQLite(t), chromium)
		})
	}
	t.Run("mouse", func(t *testing.T) {
		t.Parallel()
		db := testdb.Postgres
		if os.Getenv(testdb.PostgresURL) == "" {
			db = testdb.SQLite
		}
		testMouse(t, db(t), chromium)
	})
}

const (
	rows    = `document.querySelectorAll('button[data-action="discard"]').length`
	armed   = `document.querySelectorAll("button[data-action]:enabled").length`
	resume  = `button[data-action="resume"][data-name="shop://orders"]`
	painted = `[...document.querySelectorAll("canvas")].every((c) => {
		const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", { willReadFrequently: true });
		copy.drawImage(c, 0, 0);
		return copy.getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
	})`
)

// tile is the number under a name.
func tile(name string) string {
	return `[...document.querySelectorAll(".tiles dl")].find((e) => e.querySelector("dt").textContent === "` + name + `").querySelector("dd").textContent`
}

func testMouse(t *testing.T, db *sql.DB, chromium context.Context) {
	s := open(t, db)
	s.refuses.Store(true)
	insert(t, db, "a")
	insert(t, db, "b")
	becomes(t, db, "a", "DEAD")
	becomes(t, db, "b", "DEAD")
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	p.wait(rows + ` === 2 && ` + tile("Dead") + ` === "2"`)
	p.wait(painted)
	require.Contains(t, value[string](p, `document.querySelector(".cause").textContent`), "422 Unprocessable Entity")
	require.Zero(t, value[int](p, armed), "nobody has entered the token")

	p.click("#token")
	p.press(token)
	p.click("#unlock button")
	p.says("Unlocked.")
	require.NotZero(t, value[int](p, armed))

	s.refuses.Store(false)
	p.click(`button[data-action="replay"][data-seq="1"]`)
	p.wait(`document.getElementById("question").textContent === "Replay: event 1 to shop://orders?"`)
	p.click(`#confirm button[value="yes"]`)
	p.says("Done: replay (1).")
	p.wait(rows + ` === 1`)
	becomes(t, db, "a", "SENT")
	require.EqualValues(t, 1, s.got.Load())

	p.click(`button[data-action="discard"][data-seq="2"]`)
	p.wait(`document.getElementById("confirm").open`)
	p.click("#cancel")
	p.wait(`!document.getElementById("confirm").open`)
	becomes(t, db, "b", "DEAD")
	p.click(`button[data-action="discard"][data-seq="2"]`)
	p.click(`#confirm button[value="yes"]`)
	p.says("Done: discard (1).")
	p.wait(rows + ` === 0 && ` + tile("Dead") + ` === "0"`)
	becomes(t, db, "b", "SKIPPED")

	p.click(`button[data-action="pause"][data-name="shop://orders"]`)
	p.wait(`document.activeElement.id === "reason"`)
	p.press("new index", kb.Enter)
	p.says("Done: pause (1).")
	p.wait(`document.querySelector(` + quoted(resume) + `) && document.body.innerText.includes("new index")`)
	last := ""
	await.That(t, func() bool { // within a second the forwarder has noticed
		last = fmt.Sprintf("c%d", s.got.Load())
		if _, err := db.ExecContext(t.Context(), insertion(last)); err != nil {
			return false
		}
		var held int
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`).Scan(&held)
		return err == nil && held > 0
	})
	becomes(t, db, last, "NEW")
	p.click(resume)
	p.click(`#confirm button[value="yes"]`)
	p.says("Done: resume (1).")
	becomes(t, db, last, "SENT")
}

// The browser tells that a dialog was closed some time after it was; an answer to the next question must not be lost by that.
func testAskedAgain(t *testing.T, db *sql.DB, chromium context.Context) {
	bury(t, db, 1)
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	p.wait(rows + ` === 1`)
	p.tabTo("#token")
	p.press(token, kb.Enter)
	p.says("Unlocked.")
	const discard = `document.querySelector('button[data-action="discard"]').click();`
	value[bool](p, `(() => { `+discard+` document.getElementById("confirm").close("no"); `+discard+` return true; })()`)
	p.wait(`document.getElementById("confirm").open`)
	p.click(`#confirm button[value="yes"]`)
	p.says("Done: discard (1).")
	becomes(t, db, "event-1", "SKIPPED")
}

// Everything can be done without a mouse, and the focus is always seen and never lost.
func testKeyboard(t *testing.T, db *sql.DB, chromium context.Context) {
	bury(t, db, 3)
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	p.wait(rows + ` === 3`)
	p.tabTo("#token")
	p.press(token, kb.Enter)
	p.says("Unlocked.")

	p.tabTo(`button[data-action="discard"][data-seq="1"]`)
	p.press(kb.Enter)
	p.wait(`document.getElementById("confirm").open && document.activeElement.id === "cancel"`)
	p.press(kb.Escape)
	p.wait(`!document.getElementById("confirm").open && document.activeElement.dataset.seq === "1"`)
	require.Equal(t, 3, value[int](p, rows), "Escape is no")
	p.press(kb.Enter)
	p.wait(`document.getElementById("confirm").open`)
	p.tabTo(`#confirm button[value="yes"]`)
	p.press(kb.Enter)
	p.says("Done: discard (1).")
	p.wait(rows + ` === 2 && document.activeElement.dataset.seq === "2" && document.activeElement.dataset.action === "discard"`)
	becomes(t, db, "event-1", "SKIPPED")

	p.tabTo(`button[data-action="replay"][data-seq="3"]`)
	p.press(" ")
	p.wait(`document.getElementById("confirm").open`)
	p.tabTo(`#confirm button[value="yes"]`)
	p.press(" ")
	p.says("Done: replay (1).")
	p.wait(rows + ` === 1 && document.activeElement.closest("section") !== null`)
	becomes(t, db, "event-3", "NEW")

	// The page is refreshed, and the focus stays where it is.
	at := value[string](p, `document.activeElement.id`)
	as := value[string](p, `document.querySelector("time").dateTime`)
	p.wait(`document.querySelector("time").dateTime !== ` + quoted(as))
	require.Equal(t, at, value[string](p, `document.activeElement.id`))
}

// Without a token nobody can do anything, and nothing suggests it.
func testLocked(t *testing.T, db *sql.DB, chromium context.Context) {
	bury(t, db, 1)
	p := visit(t, chromium, serve(t, db, statuspage.Config{}))
	p.wait(tile("Dead") + ` === "1"`)
	require.Zero(t, value[int](p, `document.querySelectorAll("main button, #unlock").length`))
}

func testWrongToken(t *testing.T, db *sql.DB, chromium context.Context) {
	bury(t, db, 1)
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	p.click("#token")
	p.press("wrong", kb.Enter)
	p.says("wrong token")
	require.Zero(t, value[int](p, armed))
	p.said(1, "the browser itself says 401")
	p.click("#token")
	p.press("ключ €", kb.Enter)
	p.says("wrong token")
	p.said(1, "the browser itself says 401")
	p.press(token, kb.Enter)
	p.says("Unlocked.")
	require.NotZero(t, value[int](p, armed))
	p.click("#unlock button") // Lock
	p.says("Locked.")
	require.Zero(t, value[int](p, armed))
}

// The page can be read on a phone, by day and by night.
func testLooks(t *testing.T, db *sql.DB, chromium context.Context) {
	bury(t, db, 20)
	execute(t, db, `INSERT INTO outbox (tenant_id, topic, payload) VALUES ('a tenant with a name that is long and has-no-place-to-break-it-anywhere-at-all-in-it', 'orders', '1')`)
	p := visit(t, chromium, serve(t, db, statuspage.Config{Token: token}))
	grounds := map[string]string{}
	for _, name := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1280} {
			p.do(scheme(name), chromedp.EmulateViewport(width, 844))
			p.wait(painted)
			require.LessOrEqual(t, value[int64](p, `document.documentElement.scrollWidth`), width, "%s: it scrolls sideways", name)
			require.Empty(t, value[[]string](p, faint), "%s at %d: too little contrast", name, width)
			grounds[name] = value[string](p, `getComputedStyle(document.body).backgroundColor`)
		}
	}
	require.NotEqual(t, grounds["light"], grounds["dark"])
}
