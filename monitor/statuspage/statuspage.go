// Package statuspage is a page that shows an outbox to people: backlog and rates over the last hour, alerts and what to do about them, destinations,
// tenants, forwarders and dead letters. With an action token, people can also replay, discard, pause and resume there.
//
// It needs nothing from elsewhere: no build, no font, no script of another host.
package statuspage

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config is how the page is served. The zero value shows everything and allows nothing.
type Config struct {
	// Token is what people must know to replay, discard, pause and resume; at least 16 bytes. Empty means that nobody can.
	Token string
	// Hosts are the names, without port, by which browsers reach the page, such as status.example.com. Addresses in digits and localhost are known.
	// Requests by any other name are refused, for a web site can make its own name one of this machine. [AnyHost] is any; it is for a page behind
	// something that checks names.
	Hosts []string
	// Title of the page. Defaults to "Outbox".
	Title string
}

// MinToken is the least number of bytes of [Config.Token].
const MinToken = 16

type page struct {
	m       *monitor.Monitor
	title   string
	token   [sha256.Size]byte
	actions bool
	guesses guesses
	log     watermill.LoggerAdapter
	// Anybody can send many requests, so that what they bring about is logged seldom, and few of them ask the database at once.
	failed, refused *seldom.Line
	asking          chan struct{}
}

const (
	logEvery   = time.Minute // a line of a kind at most
	askingMost = 2           // connections of the pool, which the forwarder needs too
)

//go:embed static
var static embed.FS

//go:embed page.html
var source string

var templates = template.Must(template.New("page").Funcs(functions).Parse(source))

// New returns the handler of a page that shows what m sees. It uses relative addresses only: mount it anywhere, below a prefix with
//
//	mux.Handle("/outbox/", http.StripPrefix("/outbox", handler))
//
// Whoever reaches it can read it: causes of dead letters may name hosts, and names of tenants are shown, but no payload. Listen on loopback, or
// put what authenticates people in front. Requests of other sites that change something are refused, with or without a token, and so are requests by a
// host name that is not known. An address that sends ten wrong tokens waits for the rest of the minute, but for tabs that were unlocked
// before.
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
	p := &page{m: m, title: cfg.Title, token: sha256.Sum256([]byte(cfg.Token)), actions: cfg.Token != "", log: logger,
		failed: seldom.New(logEvery), refused: seldom.New(logEvery), asking: make(chan struct{}, askingMost)}
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

// content is what the template shows.
type content struct {
	Title    string
	Actions  bool
	Down     bool // the database does not answer
	Snapshot monitor.Snapshot
	Dead     []schema.DeadLetter
	More     template.URL // of the next dead letters; empty when these are the last
	Filter   schema.DeadFilter
	Paged    bool // not the first dead letters
}

const deadShown = 50

func (p *page) show(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := content{Title: p.title, Actions: p.actions}
		filter, after, err := deadQuery(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.Filter, c.Paged = filter, after != nil
		if c.Snapshot, err = p.m.Recent(r.Context()); err == nil {
			c.Dead, err = p.dead(r.Context(), filter, after)
		}
		if err != nil {
			p.fails(err)
			c.Down = true
		}
		if len(c.Dead) > deadShown {
			c.Dead = c.Dead[:deadShown]
			last := c.Dead[deadShown-1]
			q := deadValues(filter)
			q.Set("after", strconv.FormatInt(last.Seq, 10))
			q.Set("after_target", last.Target)
			c.More = template.URL("?" + q.Encode()) // escaped already
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = templates.ExecuteTemplate(w, name, c) // who asked is gone
	}
}

func (p *page) dead(ctx context.Context, filter schema.DeadFilter, after *schema.DeadLetter) ([]schema.DeadLetter, error) {
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p.m.Store().Dead(ctx, filter, after, deadShown+1)
}

// fails logs that the database does not answer.
func (p *page) fails(err error) {
	if errors.Is(err, context.Canceled) {
		return // who asked is gone
	}
	if more, due := p.failed.Due(); due {
		p.log.Error("Cannot show the outbox", err, watermill.LogFields{"more": more})
	}
}

func deadValues(f schema.DeadFilter) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"destination": f.Destination, "tenant": f.Tenant, "topic": f.Topic} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func deadQuery(raw string) (f schema.DeadFilter, after *schema.DeadLetter, err error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return f, nil, errors.New("cannot read the query; want name=value, percent-encoded and separated by &")
	}
	for _, name := range []string{"destination", "tenant", "topic", "after_target"} {
		if err := schema.CheckText(q.Get(name), schema.MaxTarget); err != nil {
			return f, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	f = schema.DeadFilter{Destination: q.Get("destination"), Tenant: q.Get("tenant"), Topic: q.Get("topic")}
	if text := q.Get("after"); text != "" {
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return f, nil, errors.New("after: want a number")
		}
		after = &schema.DeadLetter{Seq: seq, Target: q.Get("after_target")}
	}
	return f, after, nil
}

// history sends columns, as the plots want them.
func (p *page) history(w http.ResponseWriter, r *http.Request) {
	if _, err := p.m.Recent(r.Context()); err != nil {
		p.fails(err)
	}
	points := p.m.History()
	columns := struct {
		Time    []float64 `json:"time"`
		Backlog []int64   `json:"backlog"`
		In      []float64 `json:"in"`
		Out     []float64 `json:"out"`
	}{make([]float64, len(points)), make([]int64, len(points)), make([]float64, len(points)), make([]float64, len(points))}
	for i, point := range points {
		columns.Time[i], columns.Backlog[i] = float64(point.Time.UnixMilli())/1000, point.Backlog
		columns.In[i], columns.Out[i] = point.In, point.Out
	}
	send(w, http.StatusOK, columns)
}

func (p *page) status(w http.ResponseWriter, r *http.Request) {
	s, err := p.m.Recent(r.Context())
	if err != nil {
		p.fails(err)
		send(w, http.StatusServiceUnavailable, answer{Error: "the database does not answer"})
		return
	}
	send(w, http.StatusOK, s)
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked is gone
}

// allowed tells whether a request carries the token, and how long it has to wait if that was tried too often: then the right token is of no use but
// with the session of a tab that was unlocked before. It takes as long whatever is wrong with the token.
func (p *page) allowed(r *http.Request) (ok bool, wait time.Duration) {
	given, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return false, 0 // no guess
	}
	sum := sha256.Sum256([]byte(given))
	right := subtle.ConstantTimeCompare(sum[:], p.token[:]) == 1
	unlocked := p.unlocked(r.Header.Get(sessionHeader), time.Now())
	if wait = p.guesses.take(r.RemoteAddr, right); wait > 0 && (!right || !unlocked) {
		return false, wait
	}
	return right, 0
}
