package main

import (
	"strings"
	"time"

	stdlog "log"
	"log/slog"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

// complaints is where net/http writes what goes wrong with its connections.
type complaints struct {
	log  log
	line *seldom.Line
}

// serverLog returns a logger for an HTTP server that writes to ours, a line a minute at most, without what came from a stranger.
func serverLog(log log) *stdlog.Logger {
	return stdlog.New(complaints{log, seldom.New(time.Minute)}, "", 0)
}

// Write implements io.Writer.
func (c complaints) Write(p []byte) (int, error) {
	if more, due := c.line.Due(); due {
		c.log.Warn("The HTTP server of monitoring reports a fault", slog.String("fault", complaint(string(p))), slog.Int("more", more))
	}
	return len(p), nil
}

// complaint returns what kind of fault text of net/http is about. Behind that may stand what a stranger sent; but not behind a fault of accepting
// connections, which is the system's, and of a handler that panicked the functions are shown.
func complaint(text string) string {
	first, stack, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(first, "http: Accept error:") {
		return first
	}
	kind := first
	for _, end := range []string{" serving ", " from ", ": ", ";"} {
		kind, _, _ = strings.Cut(strings.TrimPrefix(kind, "http: "), end)
	}
	for line := range strings.Lines(stack) {
		if name, _, called := strings.Cut(line, "("); called && strings.Contains(name, "watermill-outbox") {
			kind += " < " + name
		}
	}
	return kind
}
