package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// What is wrong with each server of a URL with several is told, and one that takes writes is found.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	readOnly, good := testdb.NewServer(t), testdb.NewServer(t)
	_, err := readOnly.Open().ExecContext(t.Context(), `ALTER DATABASE postgres SET default_transaction_read_only = on`)
	require.NoError(t, err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	down := free.Addr().String()
	require.NoError(t, free.Close())
	at := func(attrs string, hosts ...string) string {
		return "postgres://postgres:tiger@" + strings.Join(hosts, ",") + "/postgres?sslmode=prefer" + attrs
	}
	const writable = "&target_session_attrs=read-write"
	missing := fmt.Sprintf(`cannot connect to any of PostgreSQL at %s or %s, database "postgres": `, down, readOnly.Address())
	for name, c := range map[string]struct {
		url  string
		want []string
	}{
		"the second is read-only": {at(writable, down, readOnly.Address()), []string{
			missing + down + ": connect: connection refused; " + readOnly.Address() + ": it is read-only, and target_session_attrs requires one that accepts writes; start one of them",
		}},
		"the second is read-only and will do": {at("", down, readOnly.Address()), []string{
			fmt.Sprintf(`PostgreSQL at %s or %s, database "postgres": the server is read-only`, down, readOnly.Address()), "add target_session_attrs=read-write",
		}},
		"one that is read-only": {at("", readOnly.Address()), []string{"PostgreSQL at " + readOnly.Address(), "name one that accepts writes"}},
		"the second refuses": {strings.Replace(at("", down, readOnly.Address()), "/postgres?", "/no_such_database?", 1), []string{
			down + ": connect: connection refused; " + readOnly.Address() + `: database "no_such_database" does not exist; `,
		}},
		"the first has no address": {at("", "no.such.host.invalid:1", down), []string{"no.such.host.invalid: no such host; ", down + ": connect: connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outbox("migrate", "up", "--database-url", c.url).require(t, statusFailed)
			for _, want := range c.want {
				require.Contains(t, r.stderr, want)
			}
			require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
			require.NotContains(t, r.stderr, "tiger")
		})
	}
	outbox("migrate", "up", "--database-url", at(writable, down, readOnly.Address(), good.Address())).require(t, statusDone)
}
