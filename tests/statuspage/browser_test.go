package statuspage_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// waits is how long anything in the page may take.
const waits = await.Patience

// browser starts a headless Chromium, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: starts a browser")
	}
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("no Chromium; scripts/install chromium installs it")
		}
		t.Skip("skipped: no Chromium; scripts/install chromium installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("lang", "en-US"), chromedp.Flag("force-prefers-reduced-motion", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "start %s", program)
	t.Cleanup(func() { require.NoError(t, chromedp.Cancel(ctx)) })
	return ctx
}

// tab is a tab of the browser that shows the page.
type tab struct {
	*testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // what the console said, and requests to other hosts
}

// visit opens a page in a tab of its own. When the test ends, nothing may have gone wrong in it but what clear returned.
func visit(t *testing.T, browser context.Context, address string) *tab {
	t.Helper()
	own, err := url.Parse(address)
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &tab{T: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) { p.hear(event, own.Host) }))
	t.Cleanup(func() { require.Empty(t, p.clear()) })
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address))
	p.wait(`document.querySelectorAll("canvas").length === 2`)
	return p
}

func (p *tab) hear(event any, own string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		p.faults = append(p.faults, "console: "+string(e.Type))
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		p.faults = append(p.faults, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != own {
			p.faults = append(p.faults, "request of another host: "+e.Request.URL)
		}
	}
}

// clear returns what went wrong since it was called last.
func (p *tab) clear() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.faults
	p.faults = nil
	return list
}

// said waits until n things went wrong, and clears them. The browser tells of them some time after they did.
func (p *tab) said(n int, why string) {
	p.Helper()
	var list []string
	await.That(p, func() bool {
		list = append(list, p.clear()...)
		return len(list) >= n
	}, why)
	require.Len(p, list, n, why)
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, waits)
	defer cancel()
	require.NoError(p, chromedp.Do(ctx, steps...))
}

// value is what an expression of JavaScript has in the page.
func value[T any](p *tab, expression string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p, err, expression)
	return v
}

// wait waits until an expression of JavaScript is true in the page.
func (p *tab) wait(expression string) {
	p.Helper()
	_, err := chromedp.Run(p.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(waits), chromedp.WithPollingInterval(20*time.Millisecond)))
	require.NoError(p, err, "%s\nthe page says: %s", expression, value[string](p, "document.body.innerText"))
}

func (p *tab) says(text string) {
	p.Helper()
	p.wait("document.getElementById('state').textContent.includes(" + quoted(text) + ")")
}

// click clicks with the mouse, where the element is.
func (p *tab) click(selector string) {
	p.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

func (p *tab) press(keys ...string) {
	p.Helper()
	p.do(chromedp.KeyEvent(strings.Join(keys, "")))
}

// tabTo presses Tab until an element has the focus, and checks that each that has it on the way shows it.
func (p *tab) tabTo(selector string) {
	p.Helper()
	for range 60 {
		p.press(kb.Tab)
		seen := value[string](p, `(() => {
			const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
			if (e === document.body) return "";
			const outlined = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
			const visible = box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
			return outlined && visible ? "" : "the focus on " + e.outerHTML.slice(0, 100) + " cannot be seen";
		})()`)
		require.Empty(p, seen)
		if value[bool](p, "document.activeElement.matches("+quoted(selector)+")") {
			return
		}
	}
	require.Fail(p, "no key leads there", "%s", selector)
}

// scheme makes the page believe that people prefer light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}
