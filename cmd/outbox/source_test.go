package main

import (
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func TestParseSource(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"postgres://u:p@host/shop":              `PostgreSQL at host:5432, database "shop"`,
		"postgresql://u:p@host:6432/shop":       `PostgreSQL at host:6432, database "shop"`,
		"POSTGRES://host/shop":                  `PostgreSQL at host:5432, database "shop"`,
		"postgres://u:p%40ss%2Fword@host/shop":  `PostgreSQL at host:5432, database "shop"`,
		"postgres:///shop?host=/run/postgresql": `PostgreSQL at /run/postgresql, database "shop"`,
		"sqlite:shop.db":                        "SQLite file shop.db",
		"sqlite:///var/shop.db":                 "SQLite file /var/shop.db",
		"sqlite:/var/my%20shop.db":              "SQLite file /var/my shop.db",
		"file:shop.db?_pragma=cache_size(9)":    "SQLite file shop.db",
		"sqlite3:../shop.db":                    "SQLite file ../shop.db",
	}
	for text, want := range cases {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			s, err := parseSource(text)
			require.NoError(t, err)
			require.Equal(t, want, s.name)
		})
	}
}

func TestParseSourceFaultsTellNoPassword(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"tiger":                                            "has no scheme",
		"host=h password=tiger":                            "has no scheme",
		"scott:tiger@host/shop":                            "unknown scheme",
		"mysql://scott:tiger@host/shop":                    `unknown scheme "mysql"`,
		"postgres://scott:ti ger@host/shop":                "is not a URL",
		"postgres://scott:ti/ger@host/shop":                "is not a URL",
		"postgres://scott:1/tiger@host/shop":               "is not a URL",
		"postgres://scott:1?tiger@host/shop":               "is not a URL",
		"postgres://scott:1#tiger@host/shop":               "is not a URL",
		"postgres://scott:tig%er@host/shop":                "is not a URL",
		"postgres:scott:tiger@host/shop":                   "is not a URL",
		"postgres://scott:tiger@host:http/shop":            "is not a URL",
		"postgres://scott:tiger@h/d?sslmode=abc":           "sslmode is invalid",
		"postgres://scott:tiger@h/d?sslrootcert=/no/tiger": "unable to read CA file",
		"sqlite:?mode=tiger":                               "no file",
		"sqlite:a%zz.db":                                   "invalid % escape",
	}
	for text, want := range cases {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			_, err := parseSource(text)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "tiger")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// The options of a SQLite URL are kept, and the safe ones added.
func TestSQLiteOptions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "shop.db")
	s, err := parseSource("sqlite:" + file + "?_pragma=busy_timeout(77)&_pragma=synchronous(FULL)")
	require.NoError(t, err)
	db := s.sqlDB(true, commandPool)
	defer func() { require.NoError(t, db.Close()) }()
	for pragma, want := range map[string]string{"journal_mode": "wal", "busy_timeout": "77", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
}

// Whatever is wrong with the database when a command starts, it fails with one line that says what to do.
func TestDatabaseThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	require.NoError(t, os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 100)), 0o600))

	fails := func(t *testing.T, want string, args ...string) {
		t.Helper()
		r := outbox(args...).require(t, statusFailed)
		require.Contains(t, r.stderr, want)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
		require.NotContains(t, r.stderr, "tiger")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := free.Addr().String()
	require.NoError(t, free.Close())

	for _, command := range []string{"stats", "migrate status", "migrate down --yes", "run --once --to console://"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			with := func(url string) []string { return append(strings.Fields(command), "--database-url", url) }
			fails(t, "does not exist; correct the database URL", with("sqlite:"+filepath.Join(dir, "none.db"))...)
			fails(t, "is not a SQLite database", with("sqlite:"+garbage)...)
			fails(t, "cannot reach PostgreSQL at "+nobody+`, database "shop": connect: connection refused; start it`, with("postgres://scott:tiger@"+nobody+"/shop")...)
			fails(t, "no such host", with("postgres://scott:tiger@no.such.host.invalid/shop")...)
		})
	}
	require.NoFileExists(t, filepath.Join(dir, "none.db"))
	fails(t, "does not exist; correct the database URL", "migrate", "up", "--database-url", "sqlite:"+filepath.Join(dir, "no", "directory.db"))
}

func TestPostgresThatRefuses(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(testdb.PostgresDSN(t))
	require.NoError(t, err)
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	cases := map[string]struct{ url, want string }{
		"user":     {with(func(u *url.URL) { u.User = url.UserPassword("nobody_at_all", "tiger") }), `refuses user "nobody_at_all"`},
		"database": {with(func(u *url.URL) { u.Path = "/no_such_database" }), `database "no_such_database" does not exist; create it`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outbox("migrate", "up", "--database-url", c.url).require(t, statusFailed)
			require.Contains(t, r.stderr, c.want)
			require.NotContains(t, r.stderr, "tiger")
		})
	}
	r := outbox("migrate", "up", "--schema", "no_such_schema", "--database-url", good.String()).require(t, statusFailed)
	require.Contains(t, r.stderr, "create it first or correct --schema")
}

func TestExplainTellsWhatToDo(t *testing.T) {
	t.Parallel()
	s, err := parseSource("postgres://scott:tiger@host/shop")
	require.NoError(t, err)
	for code, want := range map[string]string{
		"28P01": "correct user and password", "28000": "correct user and password", "3D000": "create it or correct",
		"3F000": "correct --schema", "42501": "outbox migrate print", "53300": "raise max_connections", "26000": "simple_protocol", "42P01": "outbox migrate print", "57P03": "try again later", "XX000": "boom",
	} {
		err := fmt.Errorf("cannot migrate: %w", &pgconn.PgError{Code: code, Message: "boom"})
		require.ErrorContains(t, s.explain(err), want, code)
	}
}

func TestTablesThatAreMissingOrNewer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url, "--table-prefix", "other").require(t, statusDone)
		for _, command := range []string{"stats", "run --once --to console://"} {
			args := append(strings.Fields(command), "--database-url", url)
			require.Contains(t, outbox(args...).require(t, statusFailed).stderr, `none found; create them with "outbox migrate up"`)
		}
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		_, err := open().ExecContext(t.Context(), `INSERT INTO outbox_migrations (version, name, identity) VALUES (99, 'future', 'x')`)
		require.NoError(t, err)
		for _, command := range []string{"stats", "run --once --to console://", "migrate up", "migrate down --yes"} {
			args := append(strings.Fields(command), "--database-url", url)
			require.Contains(t, outbox(args...).require(t, statusFailed).stderr, "version 99 is newer than 1", command)
		}
		require.Contains(t, outbox("migrate", "status", "--database-url", url).require(t, statusDone).stdout, "099_future")
	})
}
