package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A webhook sends more than it announced. Net/http prints the beginning of that by itself.
func TestBytesOfAnAnswerReachNoLog(t *testing.T) {
	t.Parallel()
	file := binary(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_ = r.Body.Close()
				_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nsecret \"quoted\" of the customer")
				_, _ = conn.Read(make([]byte, 1))
			}()
		}
	}()
	database := filepath.Join(t.TempDir(), "outbox.db")
	url := "sqlite:" + database
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	p := start(t, file, "run", "--database-url", url, "--to", "http://"+ln.Addr().String())
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.exited })
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(database))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '1')`)
	require.NoError(t, err)
	await.That(t, func() bool { return strings.Contains(p.stderr.String(), "Unsolicited response") }, "the library has said it")
	require.Contains(t, p.stderr.String(), "A library reports a fault")
	require.NotContains(t, p.stderr.String(), "secret")
	require.NotContains(t, p.stderr.String(), "customer")
}
