package main

import (
	"database/sql"
	"net"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

func contents(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return text
}

// PostgreSQL with certificates on both sides.
func TestDatabaseTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := adapterstest.NewAuthority(t, "ca"), adapterstest.NewAuthority(t, "stranger")
	serverCert, serverKey := ca.Issue("server")
	cert, key := ca.Issue("postgres")
	otherCert, otherKey := ca.Issue("somebody")
	foreignCert, foreignKey := stranger.Issue("postgres")
	server := testdb.NewServer(t)
	server.UseTLS(contents(t, serverCert), contents(t, serverKey), contents(t, ca.File))
	at := func(mode, root, cert, key string) string {
		q := url.Values{"sslmode": {mode}}
		for name, value := range map[string]string{"sslrootcert": root, "sslcert": cert, "sslkey": key} {
			if value != "" {
				q.Set(name, value)
			}
		}
		return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Host: server.Address(), Path: "/postgres", RawQuery: q.Encode()}).String()
	}
	good := at("verify-full", ca.File, cert, key)
	outbox("migrate", "up", "--database-url", good).require(t, statusDone)
	outbox("run", "--once", "--to", "console://stderr", "--database-url", good).require(t, statusDone)
	db, err := sql.Open("pgx", good)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var encrypted bool
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`).Scan(&encrypted))
	require.True(t, encrypted)

	for name, c := range map[string]struct {
		url, want string
		status    int
	}{
		"no encryption":         {at("disable", "", "", ""), "set sslmode=verify-full", statusFailed},
		"no client certificate": {at("verify-full", ca.File, "", ""), "requires a valid client certificate; name a certificate", statusFailed},
		"of somebody else":      {at("verify-full", ca.File, otherCert, otherKey), `refuses user "postgres"`, statusFailed},
		"of a stranger":         {at("verify-full", ca.File, foreignCert, foreignKey), "name a certificate of this user by sslcert and sslkey", statusFailed},
		"another authority":     {at("verify-full", stranger.File, cert, key), "certificate signed by unknown authority", statusFailed},
		"no such file":          {at("verify-full", ca.File+"x", cert, key), "unable to read CA file", statusUsage},
	} {
		t.Run(name, func(t *testing.T) {
			r := outbox("run", "--once", "--to", "console://stderr", "--log-level", "error", "--database-url", c.url).require(t, c.status)
			require.Contains(t, r.stderr, c.want)
			require.Regexp(t, `^outbox: [^\n]+\n$`, r.stderr, "one line")
		})
	}
}

// Redis with certificates on both sides.
func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := adapterstest.NewAuthority(t, "ca"), adapterstest.NewAuthority(t, "stranger")
	cert, key := ca.Issue("outbox")
	foreignCert, foreignKey := stranger.Issue("outbox")
	addr := tlsRedis(t, ca)
	at := func(scheme, ca, cert, key string) string {
		return scheme + "://" + addr + "?" + url.Values{"tls_ca": {ca}, "tls_cert": {cert}, "tls_key": {key}, "timeout": {"2s"}}.Encode()
	}
	each(t, func(t *testing.T, database string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", database).require(t, statusDone)
		run := func(to string) { // --once leaves what waits for a retry
			outbox("run", "--once", "--to", to, "--error-retry-delay", "1h", "--database-url", database).require(t, statusDone)
		}
		status := func(topic string) (status, cause string) {
			db := open()
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT status, COALESCE(error_message, '') FROM outbox_events WHERE topic = $1`, topic).Scan(&status, &cause))
			return status, cause
		}
		db := open()
		insert(t, db, "good", `{}`)
		run(at("rediss", ca.File, cert, key))
		got, cause := status("good")
		require.Equal(t, "SENT", got, cause)

		insert(t, db, "wrong-ca", `{}`)
		run(at("rediss", stranger.File, cert, key))
		got, cause = status("wrong-ca")
		require.Equal(t, "NEW", got, "out of reach, which is no attempt")
		require.Contains(t, cause, "certificate signed by unknown authority")

		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('wrong-client', '{}')`)
		require.NoError(t, err)
		run(at("rediss", ca.File, foreignCert, foreignKey))
		got, cause = status("wrong-client")
		require.Equal(t, "NEW", got)
		require.Contains(t, cause, "unknown certificate authority")
	})
	r := outbox("config", "check", "--to", at("redis", ca.File, cert, key), "--database-url", "sqlite:x.db").require(t, statusUsage)
	require.Contains(t, r.stderr, "use the scheme rediss")
	r = outbox("config", "check", "--to", at("rediss", ca.File, cert, foreignKey), "--database-url", "sqlite:x.db").require(t, statusUsage)
	require.Contains(t, r.stderr, "private key does not match public key")
}

// tlsRedis starts a Redis server that talks to clients of ca only, and returns where it listens.
func tlsRedis(t *testing.T, ca adapterstest.Authority) string {
	t.Helper()
	cert, key := ca.Issue("server")
	return testserver.New(t, func(dir string) (*testserver.Server, error) {
		s, err := testserver.Redis(dir)
		if err == nil {
			_, port, _ := net.SplitHostPort(s.Addr)
			s.Args = []string{"--port", "0", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.File, "--tls-auth-clients", "yes"}
		}
		return s, err
	}).Addr
}
