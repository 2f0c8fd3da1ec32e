package main

import (
	"net/http"
	"time"
)

// maxConnections bounds the connections of monitoring, so that the forwarder keeps the rest of what the system lets the process have.
const maxConnections = 64

// newServer returns a server that strangers can neither hold up nor fill the log of.
func newServer(h http.Handler, log log) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // a snapshot may take 10 s
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         newConnections(maxConnections).changed,
		ErrorLog:          serverLog(log),
	}
}
