package main

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the connections of an HTTP server. It accepts a connection above the bound and closes another one for it: the one that has been
// idle longest, or, if none is idle, the one whose request has taken longest. So clients that hold connections open cannot keep others out. A client
// whose idle connection is closed opens a new one.
type connections struct {
	most int

	mu         sync.Mutex
	idle, busy list.List // of net.Conn, in the order of their last change of state
	places     map[net.Conn]place
}

type place struct {
	in *list.List
	at *list.Element
}

func newConnections(most int) *connections {
	return &connections{most: most, places: map[net.Conn]place{}}
}

// changed is the ConnState hook of a server.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if surplus := c.move(conn, state); surplus != nil {
		_ = surplus.Close()
	}
}

// move records the state of conn. It returns a connection to close, or nil.
func (c *connections) move(conn net.Conn, state http.ConnState) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.places[conn]
	if !known && state != http.StateNew {
		return nil // it was closed here
	}
	if known {
		before.in.Remove(before.at)
		delete(c.places, conn)
	}
	switch state {
	case http.StateIdle:
		c.places[conn] = place{&c.idle, c.idle.PushBack(conn)}
	case http.StateNew, http.StateActive:
		c.places[conn] = place{&c.busy, c.busy.PushBack(conn)}
	}
	if len(c.places) <= c.most {
		return nil
	}
	oldest := c.idle.Front()
	if oldest == nil {
		oldest = c.busy.Front()
	}
	surplus := oldest.Value.(net.Conn)
	in := c.places[surplus]
	in.in.Remove(in.at)
	delete(c.places, surplus)
	return surplus
}
