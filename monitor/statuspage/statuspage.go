// Package statuspage shows an outbox to people: backlog and rates over the last hour, alerts and their remedies, destinations, tenants, forwarders and
// dead letters. Holders of an action token can also replay, discard, pause and resume there.
//
// The page is self-contained: it needs no build, and loads no font or script from another host.
package statuspage

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// Config configures the page. The zero value shows everything and allows no action.
type Config struct {
	// Token lets whoever knows it replay, discard, pause and resume. It has at least [MinToken] bytes. Without one, nobody can.
	Token string
	// Hosts are the names, without port, that browsers open the page by, such as status.example.com. IP addresses and localhost are always accepted.
	// Requests by other names are refused, because a web site can point its own name at this machine. [AnyHost] accepts any name; use it behind a
	// proxy that checks names.
	Hosts []string
	// Title of the page. Defaults to "Outbox".
	Title string
}

// MinToken is the smallest length of [Config.Token] in bytes.
const MinToken = 16

type page struct {
	m       *monitor.Monitor
	title   string
	access  access
	actions bool
	log     watermill.LoggerAdapter
	// Strangers can send many requests, so failures are logged seldom, and few requests query the database at once.
	failed, refused *seldom.Line
	querying        chan struct{}
}

const (
	logEvery     = time.Minute // per kind of line
	queryingMost = 2           // connections; the forwarder needs the pool too
)

//go:embed static
var static embed.FS

//go:embed page.html
var source string

var templates = template.Must(template.New("page").Funcs(functions).Parse(source))

// New returns the handler of a page that shows what m sees. All addresses on the page are relative, so it can be mounted below a prefix:
//
//	mux.Handle("/outbox/", http.StripPrefix("/outbox", handler))
//
// Everybody who reaches the page can read it. It shows no payloads, but causes of dead letters may name hosts, and tenants are named. Listen on
// loopback, or put a proxy in front that authenticates people. Requests that other sites make a browser send cannot act, even with a token. An
// address that sends ten wrong tokens is refused for the rest of the minute; tabs that are unlocked go on.
func New(m *monitor.Monitor, cfg Config, logger watermill.LoggerAdapter) (http.Handler, error) {
	if cfg.Token != "" && len(cfg.Token) < MinToken {
		return nil, fmt.Errorf("status page: Token has %d bytes, want at least %d", len(cfg.Token), MinToken)
	}
	names, err := newHosts(cfg.Hosts)
	if err != nil {
		return nil, err
	}
	if cfg.Title == "" {
		cfg.Title = "Outbox"
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	p := &page{m: m, title: cfg.Title, access: access{token: sha256.Sum256([]byte(cfg.Token))}, actions: cfg.Token != "", log: logger,
		failed: seldom.New(logEvery), refused: seldom.New(logEvery), querying: make(chan struct{}, queryingMost)}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.show("page"))
	mux.HandleFunc("GET /parts", p.show("parts"))
	mux.HandleFunc("GET /history.json", p.history)
	mux.HandleFunc("GET /status.json", p.status)
	mux.Handle("GET /static/", http.StripPrefix("/static", http.FileServerFS(files)))
	mux.HandleFunc("POST /actions/{action}", p.act)
	return headers(names.guard(http.NewCrossOriginProtection().Handler(mux), logger)), nil
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
