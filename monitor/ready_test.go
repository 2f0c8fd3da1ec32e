package monitor_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/monitor"
)

func ask(h http.Handler) (status int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

// However many ask, the checks run once a second at most, side by side, and one that does not end is not well.
func TestReadyIsAskedOnceForAll(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	h := monitor.Ready(time.Minute,
		monitor.Check{Name: "first", Run: func(context.Context) error { runs.Add(1); <-begun; return nil }},
		monitor.Check{Name: "second", Run: func(context.Context) error { begin(); return errors.New("is away") }},
	)
	start := time.Now()
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			status, body := ask(h)
			if status != http.StatusServiceUnavailable || body != `{"ready":false,"checks":{"first":"ok","second":"is away"}}`+"\n" {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	asking.Wait()
	require.LessOrEqual(t, int64(runs.Load()), 1+int64(time.Since(start)/time.Second))

	slow := monitor.Ready(time.Millisecond, monitor.Check{Name: "slow", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	status, body := ask(slow)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "deadline exceeded")
}

// Who goes away does not end what others wait for.
func TestReadyWhenTheFirstGoesAway(t *testing.T) {
	t.Parallel()
	running, end := make(chan struct{}), make(chan struct{})
	h := monitor.Ready(time.Minute, monitor.Check{Name: "slow", Run: func(ctx context.Context) error {
		close(running)
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	ctx, leave := context.WithCancel(context.Background())
	first := make(chan struct{})
	go func() {
		defer close(first)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil).WithContext(ctx))
	}()
	<-running
	leave()
	second := make(chan int)
	go func() {
		status, _ := ask(h)
		second <- status
	}()
	close(end)
	<-first
	require.Equal(t, http.StatusOK, <-second)
}
