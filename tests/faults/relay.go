package faults

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// Relay is a TCP port in front of a server, whose connections can be cut, slowed down, reset and made to hang.
type Relay struct {
	Addr string // host:port

	target string
	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	state  *relayState
	wg     sync.WaitGroup
}

// relayState is what happens to bytes. It is replaced as a whole; changed is closed when it is.
type relayState struct {
	delay   time.Duration // of every chunk, in both directions, give or take half
	hang    bool          // nothing passes
	reset   bool          // connections are reset at a random moment
	changed chan struct{}
}

// NewRelay returns a relay to target, a host:port, on a free port of the loopback interface.
func NewRelay(target string) (*Relay, error) {
	addr, err := testserver.FreeAddr()
	if err != nil {
		return nil, err
	}
	r := &Relay{Addr: addr, target: target, conns: map[net.Conn]bool{}, state: &relayState{changed: make(chan struct{})}}
	return r, r.listen()
}

// Close ends the relay and its connections.
func (r *Relay) Close() {
	r.Cut()
	r.change(relayState{})
	r.wg.Wait()
}

// Cut refuses new connections and ends the ones there are, until Heal.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != nil {
		_ = r.ln.Close()
		r.ln = nil
	}
	r.endAll(false)
}

// Slow delays every chunk in both directions by d, give or take half of it, until Heal.
func (r *Relay) Slow(d time.Duration) { r.change(relayState{delay: d}) }

// Hang keeps connections open and passes nothing on until Heal; what was held is passed on then.
func (r *Relay) Hang() { r.change(relayState{hang: true}) }

// Reset resets the connections there are, and new ones after up to 200 ms, until Heal.
func (r *Relay) Reset() {
	r.change(relayState{reset: true})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endAll(true)
}

// Heal lets everything pass again.
func (r *Relay) Heal() error {
	r.change(relayState{})
	return r.listen()
}

func (r *Relay) change(s relayState) {
	s.changed = make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.state.changed)
	r.state = &s
}

func (r *Relay) now() *relayState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// endAll ends all connections. The caller holds mu.
func (r *Relay) endAll(reset bool) {
	for c := range r.conns {
		end(c, reset)
	}
	clear(r.conns)
}

func end(c net.Conn, reset bool) {
	if tcp, ok := c.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (r *Relay) listen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", r.Addr) //nolint:noctx // ends with Close
	if err != nil {
		return err
	}
	r.ln = ln
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.connect(c) })
		}
	})
	return nil
}

func (r *Relay) connect(client net.Conn) {
	server, err := net.Dial("tcp", r.target) //nolint:noctx // loopback: at once
	if err != nil {
		end(client, true)
		return
	}
	r.mu.Lock()
	if r.ln == nil { // cut meanwhile
		r.mu.Unlock()
		end(client, false)
		end(server, false)
		return
	}
	r.conns[client], r.conns[server] = true, true
	state := r.state
	r.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { r.pass(client, server) })
	both.Go(func() { r.pass(server, client) })
	if state.reset {
		t := time.NewTimer(rand.N(200 * time.Millisecond))
		select {
		case <-t.C:
			end(client, true)
			end(server, true)
		case <-state.changed:
			t.Stop()
		}
	}
	both.Wait()
	r.mu.Lock()
	delete(r.conns, client)
	delete(r.conns, server)
	r.mu.Unlock()
}

func (r *Relay) pass(from, to net.Conn) {
	defer func() {
		end(from, false)
		end(to, false)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.wait()
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait holds a chunk back for as long as the state says.
func (r *Relay) wait() {
	for {
		s := r.now()
		switch {
		case s.hang:
			<-s.changed
			continue
		case s.delay > 0:
			t := time.NewTimer(s.delay/2 + rand.N(s.delay))
			select {
			case <-t.C:
			case <-s.changed:
				t.Stop()
			}
		}
		return
	}
}
