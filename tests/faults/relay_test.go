package faults_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/tests/faults"
)

// echo is a server that answers every line with itself.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

// ask sends a line and waits for the answer.
func ask(c net.Conn, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping\n")); err != nil {
		return err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

func TestRelay(t *testing.T) {
	t.Parallel()
	const patience, moment = 10 * time.Second, 50 * time.Millisecond
	for name, f := range map[string]func(t *testing.T, r *faults.Relay, c net.Conn){
		"pass": func(t *testing.T, _ *faults.Relay, c net.Conn) { require.NoError(t, ask(c, patience)) },
		"cut": func(t *testing.T, r *faults.Relay, c net.Conn) {
			r.Cut()
			err := ask(c, patience)
			// What is written to a connection that the other side has closed is answered with a reset.
			require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), err)
			_, err = net.Dial("tcp", r.Addr)
			require.Error(t, err)
		},
		"slow": func(t *testing.T, r *faults.Relay, c net.Conn) {
			r.Slow(100 * time.Millisecond)
			from := time.Now()
			require.NoError(t, ask(c, patience))
			require.GreaterOrEqual(t, time.Since(from), 100*time.Millisecond) // half of it there, and half back
		},
		"reset": func(t *testing.T, r *faults.Relay, c net.Conn) {
			r.Reset()
			require.Error(t, ask(c, patience))
			again, err := net.Dial("tcp", r.Addr)
			require.NoError(t, err)
			defer again.Close()
			require.NoError(t, again.SetDeadline(time.Now().Add(patience)))
			_, err = again.Read(make([]byte, 1))
			require.Error(t, err)
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "it was not reset")
		},
		"hang": func(t *testing.T, r *faults.Relay, c net.Conn) {
			r.Hang()
			require.Error(t, ask(c, moment))
			require.NoError(t, r.Heal())
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			line, err := bufio.NewReader(c).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "ping\n", line, "what was held is passed on")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := faults.NewRelay(echo(t))
			require.NoError(t, err)
			t.Cleanup(r.Close)
			c, err := net.Dial("tcp", r.Addr)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, ask(c, patience))
			f(t, r, c)
			require.NoError(t, r.Heal())
			healed, err := net.Dial("tcp", r.Addr)
			require.NoError(t, err)
			defer healed.Close()
			require.NoError(t, ask(healed, patience))
		})
	}
}
