package main

import (
	"context"
	"database/sql"
	endian "encoding/binary"
	"fmt"
	"net"
	"net/url"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// readSlot reads a replication slot as a standby with hot_standby_feedback does, until the slot holds rows, and goes away.
func readSlot(x *trouble, slot string) {
	u, err := url.Parse(x.url)
	require.NoError(x, err)
	q := u.Query()
	q.Set("replication", "true")
	u.RawQuery = q.Encode()
	conn, err := pgconn.Connect(x.Context(), u.String())
	require.NoError(x, err)
	defer func() { _ = conn.Close(context.Background()) }()
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION SLOT " + slot + " PHYSICAL 0/1000000"})
	require.NoError(x, conn.Frontend().Flush())
	for {
		message, err := conn.ReceiveMessage(x.Context())
		require.NoError(x, err)
		if _, begun := message.(*pgproto3.CopyBothResponse); begun {
			break
		}
	}
	var xmin uint32
	require.NoError(x, x.db.QueryRowContext(x.Context(), `SELECT txid_current()`).Scan(&xmin))
	feedback := append([]byte{'h'}, make([]byte, 24)...) // time, xmin, its epoch, catalog xmin, its epoch
	endian.BigEndian.PutUint32(feedback[9:], xmin)
	conn.Frontend().Send(&pgproto3.CopyData{Data: feedback})
	require.NoError(x, conn.Frontend().Flush())
	x.eventually("held", func() (string, bool) {
		var held bool
		require.NoError(x, x.db.QueryRowContext(x.Context(), `SELECT xmin IS NOT NULL FROM pg_replication_slots`).Scan(&held))
		return "", held
	})
}

// listen makes forwarders serve at a port of their own, which "outbox health" asks at.
func (x *trouble) listen() {
	l, err := (&net.ListenConfig{}).Listen(x.Context(), "tcp", "127.0.0.1:0")
	require.NoError(x, err)
	x.env = append(x.env, fmt.Sprintf("METRICS_PORT=%d", l.Addr().(*net.TCPAddr).Port))
	require.NoError(x, l.Close())
}

// leak opens connections that nobody uses, until so many hundredths of what the server takes are in use, or until it takes no more.
func (x *trouble) leak(most int) {
	u, err := url.Parse(x.url)
	require.NoError(x, err)
	u.User = url.User("app")
	q := u.Query()
	q.Set("application_name", "leaky")
	u.RawQuery = q.Encode()
	for range most {
		conn, err := pgconn.Connect(x.Context(), u.String())
		if err != nil {
			return
		}
		x.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
}

// poolAlert raises the alert that the section quotes.
func poolAlert(x *trouble) {
	db, err := sql.Open("pgx", x.url)
	require.NoError(x, err)
	defer func() { require.NoError(x, db.Close()) }()
	m, err := monitor.New(x.Context(), db, monitor.Config{}, nil)
	require.NoError(x, err)
	db.SetMaxOpenConns(2)
	busy, err := db.Conn(x.Context())
	require.NoError(x, err)
	other, err := db.Conn(x.Context())
	require.NoError(x, err)
	snapshots := make(chan monitor.Snapshot, 1)
	go func() {
		if s, err := m.Take(x.Context()); err == nil {
			snapshots <- s
		}
		close(snapshots)
	}()
	x.eventually("waits", func() (string, bool) { return "", db.Stats().WaitCount > 0 })
	require.NoError(x, busy.Close())
	require.NoError(x, other.Close())
	for _, a := range (<-snapshots).Alerts() {
		if a.Rule == monitor.RulePool {
			require.Contains(x, x.text, "\n"+a.Message+"\n"+a.Action+"\n")
			return
		}
	}
	x.Fatal("no alert")
}

func dropRole(x *trouble, role string) {
	db := testdb.Open(x.T, x.url)
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	for _, query := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
		_, err := db.ExecContext(ctx, query)
		require.NoError(x, err)
	}
}
