package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// request is the body of an action. Replay and discard mean one dead letter (seq and target), those that a filter lets through, or all.
type request struct {
	Seq         int64  `json:"seq"`
	Target      string `json:"target"`
	Destination string `json:"destination"`
	Tenant      string `json:"tenant"`
	Topic       string `json:"topic"`
	All         bool   `json:"all"`
	// Kind, Name and Reason are what to pause or resume: a destination, a tenant or a key.
	Kind   schema.ControlKind `json:"kind"`
	Name   string             `json:"name"`
	Reason string             `json:"reason"`
}

// answer is what an action sends back.
type answer struct {
	Count   int    `json:"count,omitempty"`
	Error   string `json:"error,omitempty"`
	Session string `json:"session,omitempty"` // of unlock
}

const maxBody = 16 << 10

// MaxReason is how many bytes the reason of a pause has at most, for it is shown in a line.
const MaxReason = 500

func (p *page) act(w http.ResponseWriter, r *http.Request) {
	action, known := actions[r.PathValue("action")]
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var body request
	switch {
	case !known:
		send(w, http.StatusNotFound, answer{Error: "no such action; there are unlock, replay, discard, pause and resume"})
		return
	case !p.actions:
		send(w, http.StatusForbidden, answer{Error: "actions are off: no action token is set"})
		return
	}
	switch ok, wait := p.allowed(r); {
	case wait > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		send(w, http.StatusTooManyRequests, answer{Error: fmt.Sprintf("too many wrong tokens; try again in %d s", int(math.Ceil(wait.Seconds())))})
		return
	case !ok:
		if more, due := p.refused.Due(); due {
			p.log.Info("Refused an action without the right token", watermill.LogFields{"action": r.PathValue("action"), "from": r.RemoteAddr, "more": more})
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="outbox"`)
		send(w, http.StatusUnauthorized, answer{Error: "wrong token"})
		return
	case kind != "application/json":
		send(w, http.StatusUnsupportedMediaType, answer{Error: "want application/json"})
		return
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		send(w, http.StatusBadRequest, answer{Error: fmt.Sprintf("cannot read the request: %v", err)})
		return
	}
	if err := errors.Join(body.checkText(), action.check(body)); err != nil {
		send(w, http.StatusBadRequest, answer{Error: err.Error()})
		return
	}
	n, err := action.run(r.Context(), p.m.Store(), body)
	fields := watermill.LogFields{
		"action": r.PathValue("action"), "from": r.RemoteAddr, "seq": body.Seq, "target": body.Target, "destination": body.Destination,
		"tenant": body.Tenant, "topic": body.Topic, "all": body.All, "kind": body.Kind, "name": body.Name, "count": n,
	}
	if err != nil {
		p.log.Error("Cannot do what the status page was asked for", err, fields)
		send(w, http.StatusServiceUnavailable, answer{Count: n, Error: "the database did not do it; the log says why"})
		return
	}
	p.log.Info("Done from the status page", fields)
	if _, err := p.m.Take(r.Context()); err != nil { // so that the page shows it at once
		p.fails(err)
	}
	done := answer{Count: n}
	if r.PathValue("action") == "unlock" {
		done.Session = p.session(time.Now())
	}
	send(w, http.StatusOK, done)
}

type action struct {
	check func(request) error
	run   func(context.Context, *schema.Store, request) (int, error)
}

var actions = map[string]action{
	// unlock tells whether the token is right, which was looked at before.
	"unlock":  {checkUnlock, func(context.Context, *schema.Store, request) (int, error) { return 0, nil }},
	"replay":  {checkDead, func(ctx context.Context, s *schema.Store, r request) (int, error) { return s.Replay(ctx, r.filter()) }},
	"discard": {checkDead, func(ctx context.Context, s *schema.Store, r request) (int, error) { return s.Discard(ctx, r.filter()) }},
	"pause": {checkPause, func(ctx context.Context, s *schema.Store, r request) (int, error) {
		return 1, s.Pause(ctx, r.Kind, r.Name, r.Reason)
	}},
	"resume": {checkPause, func(ctx context.Context, s *schema.Store, r request) (int, error) {
		return 1, s.Resume(ctx, r.Kind, r.Name)
	}},
}

func (r request) filter() schema.DeadFilter {
	f := schema.DeadFilter{Target: r.Target, Destination: r.Destination, Tenant: r.Tenant, Topic: r.Topic}
	if r.Seq != 0 {
		f.Seqs = []int64{r.Seq}
	}
	return f
}

// checkText finds what cannot be a name before the database is asked for it.
func (r request) checkText() error {
	for _, field := range []struct{ name, text string }{
		{"target", r.Target}, {"destination", r.Destination}, {"tenant", r.Tenant}, {"topic", r.Topic}, {"name", r.Name}, {"reason", r.Reason},
	} {
		if err := schema.CheckText(field.text, schema.MaxTarget); err != nil {
			return fmt.Errorf("%s: %w", field.name, err)
		}
	}
	return nil
}

func checkUnlock(r request) error {
	if r != (request{}) {
		return errors.New("unlock takes nothing")
	}
	return nil
}

func checkDead(r request) error {
	filtered := r.Seq != 0 || r.Target != "" || r.Destination != "" || r.Tenant != "" || r.Topic != ""
	switch {
	case r.Kind != "" || r.Name != "" || r.Reason != "":
		return errors.New("kind, name and reason are for pause and resume")
	case r.Seq < 0:
		return errors.New("seq must not be negative")
	case !filtered && !r.All:
		return errors.New("say which: seq and target, destination, tenant, topic, or all")
	case filtered && r.All:
		return errors.New("say which, or all, not both")
	}
	return nil
}

func checkPause(r request) error {
	switch {
	case r.Seq != 0 || r.Target != "" || r.Destination != "" || r.Tenant != "" || r.Topic != "" || r.All:
		return errors.New("say kind and name only, and reason to pause")
	case r.Kind != schema.PausedDestination && r.Kind != schema.PausedTenant && r.Kind != schema.PausedKey:
		return errors.New("kind: want destination, tenant or key")
	case r.Name == "":
		return fmt.Errorf("name: want 1 to %d bytes", schema.MaxTarget)
	case len(r.Reason) > MaxReason:
		return fmt.Errorf("reason: want at most %d bytes", MaxReason)
	}
	return nil
}
