package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Check is something that must be well for a process to be ready.
type Check struct {
	Name string
	Run  func(context.Context) error // must return when its context ends; its error is shown to whoever asks
}

// Database checks that the database answers and has the tables.
func (m *Monitor) Database() Check {
	return Check{Name: "database", Run: func(ctx context.Context) error {
		if _, err := m.store.Ask(ctx); err != nil {
			m.log.Debug("The database does not answer", map[string]any{"err": err.Error()})
			return errors.New("does not answer") // the rest may name hosts and users
		}
		return nil
	}}
}

// Live answers that the process is alive: always with 200.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("alive\n"))
	})
}

// Ready answers with 200 when all checks are well, and with 503 when one is not; the body is JSON and says which. A check that has not ended after
// timeout is not well. Defaults to 2 s.
func Ready(timeout time.Duration, checks ...Check) http.Handler {
	if timeout <= 0 {
		timeout = 2 * time.Second
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		answer := struct {
			Ready  bool              `json:"ready"`
			Checks map[string]string `json:"checks"`
		}{true, map[string]string{}}
		for _, c := range checks {
			answer.Checks[c.Name] = "ok"
			if err := c.Run(ctx); err != nil {
				answer.Ready, answer.Checks[c.Name] = false, err.Error()
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}
