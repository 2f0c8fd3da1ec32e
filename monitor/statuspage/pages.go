package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// content is the data of the template.
type content struct {
	Title    string
	Actions  bool
	Down     bool // the database does not answer
	Snapshot monitor.Snapshot
	Dead     []admin.DeadLetter
	More     template.URL // the query of the next dead letters; empty on the last page
	Filter   admin.DeadFilter
	Paged    bool // not the first page of dead letters
}

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
		_ = templates.ExecuteTemplate(w, name, c) // the client is gone
	}
}

// fails logs that the database cannot be queried.
func (p *page) fails(err error) {
	if errors.Is(err, context.Canceled) {
		return // the client is gone
	}
	if more, due := p.failed.Due(); due {
		p.log.Error("Cannot show the outbox", err, watermill.LogFields{"more": more})
	}
}

// history sends the columns of the plots.
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
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
