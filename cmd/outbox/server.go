package main

import (
	stdlog "log"
	"net/http"
	"strings"
	"time"
)

// maxConnections bounds the connections of monitoring, so that the forwarder keeps the other file descriptors of the process.
const maxConnections = 64

// newServer returns a server whose resources and log strangers cannot exhaust.
func newServer(h http.Handler, log log) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // a snapshot may take 10 s
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         newConnections(maxConnections).changed,
		ErrorLog:          stdlog.New(log.seldom("The HTTP server of monitoring reports a fault", complaint), "", 0),
	}
}

// complaint returns the kind of fault that net/http reports. The rest of the text may come from a stranger, with two exceptions: faults of accepting
// connections come from the operating system, and a panic has the functions that led to it.
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
