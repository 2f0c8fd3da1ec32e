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

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// request is the body of an action. Replay and discard select one dead letter by seq and target, some by a filter, or all.
type request struct {
	Seq         int64  `json:"seq"`
	Target      string `json:"target"`
	Destination string `json:"destination"`
	Tenant      string `json:"tenant"`
	Topic       string `json:"topic"`
	All         bool   `json:"all"`
	// Kind and Name are the destination, tenant or key to pause or resume.
	Kind   admin.Kind `json:"kind"`
	Name   string     `json:"name"`
	Reason string     `json:"reason"`
}

// answer is the response to an action.
type answer struct {
	Count   int    `json:"count,omitempty"`
	Error   string `json:"error,omitempty"`
	Session string `json:"session,omitempty"` // from unlock
}

const maxBody = 16 << 10

// MaxReason is the largest length of the reason of a pause in bytes. It is shown on one line.
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
	switch ok, wait := p.access.allowed(r); {
	case wait > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		send(w, http.StatusTooManyRequests, answer{Error: fmt.Sprintf("too many wrong tokens; try again in %d s", int(math.Ceil(wait.Seconds())))})
		return
	case !ok:
		if more, due := p.refused.Due(); due {
			p.log.Info("Refused an action without the right token", watermill.LogFields{"action": r.PathValue("action"), "from": r.RemoteAddr, "more": more})
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="outbox"`)
		send(w, http.StatusUnauthorized, answer{Error: "wrong token, or the session has ended"})
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
	n, err := action.run(r.Context(), p.m.Admin(), body)
	fields := watermill.LogFields{
		"action": r.PathValue("action"), "from": r.RemoteAddr, "seq": body.Seq, "target": body.Target, "destination": body.Destination,
		"tenant": body.Tenant, "topic": body.Topic, "all": body.All, "kind": body.Kind, "name": body.Name, "count": n,
	}
	if err != nil {
		p.log.Error("Action from the status page failed", err, fields)
		send(w, http.StatusServiceUnavailable, answer{Count: n, Error: "the database failed; the log has the cause"})
		return
	}
	p.log.Info("Action from the status page done", fields)
	if _, err := p.m.Take(r.Context()); err != nil { // so that the page shows the change at once
		p.fails(err)
	}
	done := answer{Count: n}
	if r.PathValue("action") == "unlock" {
		done.Session = p.access.session(r)
	}
	send(w, http.StatusOK, done)
}

type action struct {
	check func(request) error
	run   func(context.Context, *admin.Client, request) (int, error)
}

var actions = map[string]action{
	// unlock exchanges the token for a session.
	"unlock":  {checkUnlock, func(context.Context, *admin.Client, request) (int, error) { return 0, nil }},
	"replay":  {checkDead, func(ctx context.Context, c *admin.Client, r request) (int, error) { return c.Replay(ctx, r.filter()) }},
	"discard": {checkDead, func(ctx context.Context, c *admin.Client, r request) (int, error) { return c.Discard(ctx, r.filter()) }},
	"pause": {checkPause, func(ctx context.Context, c *admin.Client, r request) (int, error) {
		return 1, c.Pause(ctx, r.Kind, r.Name, r.Reason)
	}},
	"resume": {checkPause, func(ctx context.Context, c *admin.Client, r request) (int, error) {
		return 1, c.Resume(ctx, r.Kind, r.Name)
	}},
}

func (r request) filter() admin.DeadFilter {
	f := admin.DeadFilter{Target: r.Target, Destination: r.Destination, Tenant: r.Tenant, Topic: r.Topic}
	if r.Seq != 0 {
		f.Seqs = []int64{r.Seq}
	}
	return f
}

// checkText refuses what cannot be a name before the database is queried.
func (r request) checkText() error {
	for _, field := range []struct{ name, text string }{
		{"target", r.Target}, {"destination", r.Destination}, {"tenant", r.Tenant}, {"topic", r.Topic}, {"name", r.Name}, {"reason", r.Reason},
	} {
		if err := store.CheckText(field.text, store.MaxTarget); err != nil {
			return fmt.Errorf("%s: %w", field.name, err)
		}
	}
	return nil
}

func checkUnlock(r request) error {
	if r != (request{}) {
		return errors.New("unlock takes an empty object")
	}
	return nil
}

func checkDead(r request) error {
	selection := request{Seq: r.Seq, Target: r.Target, Destination: r.Destination, Tenant: r.Tenant, Topic: r.Topic}
	filtered := selection != (request{})
	switch selection.All = r.All; {
	case r != selection:
		return errors.New("kind, name and reason are for pause and resume")
	case r.Seq < 0:
		return errors.New("seq must not be negative")
	case !filtered && !r.All:
		return errors.New("select dead letters by seq and target, destination, tenant or topic, or all of them by all")
	case filtered && r.All:
		return errors.New("give a filter or all, not both")
	}
	return nil
}

func checkPause(r request) error {
	switch {
	case r != (request{Kind: r.Kind, Name: r.Name, Reason: r.Reason}):
		return errors.New("pause and resume take kind and name only; pause takes a reason too")
	case r.Kind != admin.Destination && r.Kind != admin.Tenant && r.Kind != admin.Key:
		return errors.New("kind: want destination, tenant or key")
	case r.Name == "":
		return fmt.Errorf("name: want 1 to %d bytes", store.MaxTarget)
	case len(r.Reason) > MaxReason:
		return fmt.Errorf("reason: want at most %d bytes", MaxReason)
	}
	return nil
}
