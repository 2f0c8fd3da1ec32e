package adapterstest

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Relay is a TCP port in front of a broker that can be taken down, brought back and made to hang: the Down, Up and Hang
// of a [Harness] for a broker that does not tell its clients other addresses.
type Relay struct {
	Addr string // host:port

	target string
	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	gate   sync.RWMutex // held for writing while the relay hangs
	wg     sync.WaitGroup
}

// NewRelay returns a relay to target, a host:port, on a free loopback port. The test's end closes it.
func NewRelay(t *testing.T, target string) *Relay {
	t.Helper()
	r := &Relay{Addr: "127.0.0.1:0", target: target, conns: make(map[net.Conn]bool)}
	r.Up(t)
	r.Addr = r.ln.Addr().String()
	t.Cleanup(func() {
		r.Down(t)
		r.wg.Wait()
	})
	return r
}

// Up listens again.
func (r *Relay) Up(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", r.Addr)
	require.NoError(t, err)
	r.mu.Lock()
	r.ln = ln
	r.mu.Unlock()
	r.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			r.connect(client)
		}
	})
}

// Down refuses new connections and cuts the ones there are.
func (r *Relay) Down(*testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.ln.Close()
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

// Hang keeps connections open and passes nothing on until resume is called.
func (r *Relay) Hang(*testing.T) (resume func()) {
	r.gate.Lock()
	return sync.OnceFunc(r.gate.Unlock)
}

func (r *Relay) connect(client net.Conn) {
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns[client], r.conns[server] = true, true
	r.mu.Unlock()
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		r.wg.Go(func() {
			defer func() { _, _ = pair[0].Close(), pair[1].Close() }()
			buf := make([]byte, 64<<10)
			for {
				n, err := pair[0].Read(buf)
				r.gate.RLock()
				_, writeErr := pair[1].Write(buf[:n])
				r.gate.RUnlock()
				if err != nil || writeErr != nil {
					return
				}
			}
		})
	}
}
