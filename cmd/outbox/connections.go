package main

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the connections of an HTTP server. One more than most is let in, and another one closed for it: the one that has been idle for
// longest, or when none is, the one that has been sending a request or waiting for its answer for longest. So those who hold connections open do not
// keep others out; a client whose idle connection was closed opens another one.
type connections struct {
	most int

	mu         sync.Mutex
	idle, busy list.List // of net.Conn, in the order of their last change
	places     map[net.Conn]place
}

type place struct {
	in *list.List
	at *list.Element
}

func newConnections(most int) *connections {
	return &connections{most: most, places: map[net.Conn]place{}}
}

// changed is for the ConnState of a server.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if surplus := c.move(conn, state); surplus != nil {
		_ = surplus.Close()
	}
}

// move puts conn where it belongs now, and returns a connection that is to be closed, nil for none.
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
