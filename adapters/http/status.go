package http

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// StatusError is an answer that does not acknowledge a message.
type StatusError struct {
	StatusCode int

	after time.Duration
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("server answered %d %s", e.StatusCode, http.StatusText(e.StatusCode))
}

// Permanent tells whether the same request would be answered the same again.
func (e *StatusError) Permanent() bool {
	switch e.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.StatusCode >= 300 && e.StatusCode < 500
}

// RetryAfter is how long the server asks to wait before the next request; 0 when it does not say.
func (e *StatusError) RetryAfter() time.Duration { return e.after }

func statusError(r *http.Response, now time.Time) error {
	e := &StatusError{StatusCode: r.StatusCode}
	text := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		e.after = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		e.after = max(0, date.Sub(now))
	}
	return e
}
