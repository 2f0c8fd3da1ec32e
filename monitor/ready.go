package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Check is a condition of readiness.
type Check struct {
	Name string
	Run  func(context.Context) error // must return when its context ends; its error is shown in the answer
}

// Database returns a check that the database answers and has the tables.
func (m *Monitor) Database() Check {
	return Check{Name: "database", Run: func(ctx context.Context) error {
		if _, err := m.store.Ask(ctx); err != nil {
			m.log.Debug("The database does not answer", map[string]any{"err": err.Error()})
			return errors.New("does not answer") // the rest may name hosts and users
		}
		return nil
	}}
}

// Live returns a handler that always answers 200: the process is alive.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("alive\n"))
	})
}

// readyAge is the largest age of a shared answer.
const readyAge = time.Second

// Ready returns a handler that answers 200 if all checks succeed, else 503, with a JSON body that says which failed. A check that has not returned
// after timeout has failed. Timeout defaults to 2 s.
//
// The checks run concurrently, at most once a second: requests within a second share an answer.
func Ready(timeout time.Duration, checks ...Check) http.Handler {
	if timeout <= 0 {
		timeout = 2 * time.Second
	}
	r := &readiness{timeout: timeout, checks: checks, asking: make(chan struct{}, 1)}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		answer, err := r.recent(request.Context())
		if err != nil {
			return // the client is gone
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}

type readiness struct {
	timeout time.Duration
	checks  []Check

	asking chan struct{} // holds one token: who has it runs the checks, and may use what follows
	last   readyAnswer
	at     time.Time
}

type readyAnswer struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"`
}

// recent returns the last answer when it is not older than readyAge, else a new one.
func (r *readiness) recent(ctx context.Context) (readyAnswer, error) {
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return readyAnswer{}, ctx.Err()
	}
	if r.at.IsZero() || time.Since(r.at) >= readyAge {
		r.last = r.run(context.WithoutCancel(ctx)) // others wait for it too
		r.at = time.Now()
	}
	return r.last, nil
}

func (r *readiness) run(ctx context.Context) readyAnswer {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	faults := make([]error, len(r.checks))
	var running sync.WaitGroup
	for i, c := range r.checks {
		running.Go(func() { faults[i] = c.Run(ctx) })
	}
	running.Wait()
	answer := readyAnswer{Ready: true, Checks: map[string]string{}}
	for i, c := range r.checks {
		answer.Checks[c.Name] = "ok"
		if faults[i] != nil {
			answer.Ready, answer.Checks[c.Name] = false, faults[i].Error()
		}
	}
	return answer
}
