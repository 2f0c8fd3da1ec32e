package main

import (
	"bytes"
	"database/sql"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func tableCount(t *testing.T, db *sql.DB, url, prefix string) int {
	t.Helper()
	query := `SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name LIKE $1`
	if strings.HasPrefix(url, "sqlite") {
		query = `SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name LIKE $1`
	}
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), query, prefix+"%").Scan(&n))
	return n
}

func TestMigrateUpStatusDown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		run := func(command string, args ...string) result {
			return outbox(append([]string{"migrate", command, "--database-url", url, "--table-prefix", "shop"}, args...)...)
		}
		if strings.HasPrefix(url, "postgres") { // a SQLite file is not there yet
			require.Regexp(t, `001_outbox +no\n`, run("status").require(t, statusDone).stdout)
			require.Contains(t, run("down", "--yes").require(t, statusDone).stdout, "nothing to do")
			require.Zero(t, tableCount(t, open(), url, "shop"))
		}
		require.Equal(t, "applied 001_outbox\n", run("up").require(t, statusDone).stdout)
		require.Contains(t, run("up").require(t, statusDone).stdout, "nothing to do")
		require.Regexp(t, `001_outbox +20\d\d-\d\d-\d\dT`, run("status").require(t, statusDone).stdout)
		require.Equal(t, 9, tableCount(t, open(), url, "shop"))

		run("down").require(t, statusUsage)
		require.Equal(t, 9, tableCount(t, open(), url, "shop"), "unconfirmed")
		require.Equal(t, "reverted 001_outbox\n", run("down", "--yes").require(t, statusDone).stdout)
		require.Zero(t, tableCount(t, open(), url, "shop"))
		require.Contains(t, run("down", "--yes").require(t, statusDone).stdout, "nothing to do")
	})
}

func TestMigrateDownAsksAtATerminal(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	outbox("migrate", "up", "--database-url", database).require(t, statusDone)
	answer := func(text string) result {
		var stdout, stderr bytes.Buffer
		s := &session{stdin: strings.NewReader(text), stdout: &stdout, stderr: &stderr, isTerminal: func(io.Reader) bool { return true }}
		return result{s.run([]string{"migrate", "down", "--database-url", database}), stdout.String(), stderr.String()}
	}
	for _, text := range []string{"", "\n", "no\n", "y\n"} {
		r := answer(text).require(t, statusFailed)
		require.Contains(t, r.stderr, "Revert 001_outbox in SQLite file")
		require.Contains(t, r.stderr, "nothing was changed")
	}
	outbox("stats", "--database-url", database).require(t, statusDone)
	require.Equal(t, "reverted 001_outbox\n", answer("yes\n").require(t, statusDone).stdout)
}

// What is printed does what up and down do, through the driver and, where they are installed, psql and sqlite3.
func TestMigratePrint(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, database string, open func() *sql.DB) {
		db := open()
		shell := func(sql string) {
			name, args := "sqlite3", []string{"-bail", ""}
			if strings.HasPrefix(database, "postgres") {
				name, args = "psql", []string{"-X", "-v", "ON_ERROR_STOP=1", "-f", "-", withoutQuery(t, database, "search_path")}
			} else {
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT file FROM pragma_database_list`).Scan(&args[1]))
			}
			if _, err := exec.LookPath(name); err != nil {
				t.Logf("%s is not installed: through the driver instead", name)
				_, err := db.ExecContext(t.Context(), sql)
				require.NoError(t, err)
				return
			}
			cmd := exec.CommandContext(t.Context(), name, args...)
			cmd.Stdin = strings.NewReader(sql)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		driver := func(sql string) {
			_, err := db.ExecContext(t.Context(), sql)
			require.NoError(t, err)
		}
		flags := []string{"--database-url", database, "--table-prefix", "shop"}
		print := func(direction string) string {
			return outbox(append([]string{"migrate", "print", "--direction", direction}, flags...)...).require(t, statusDone).stdout
		}
		for _, execute := range []func(string){driver, shell} {
			execute(print("up"))
			require.Contains(t, outbox(append([]string{"migrate", "up"}, flags...)...).require(t, statusDone).stdout, "nothing to do")
			outbox(append([]string{"stats"}, flags...)...).require(t, statusDone)
			execute(print("down"))
			require.Contains(t, outbox(append([]string{"stats"}, flags...)...).require(t, statusFailed).stderr, "none found")
		}
	})
}

func TestMigratePrintNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	require.Contains(t, outbox("migrate", "print", "--dialect", "sqlite").require(t, statusDone).stdout, "AUTOINCREMENT")
	r := outbox("migrate", "print", "--dialect", "postgres", "--schema", "shop", "--table-prefix", "events").require(t, statusDone)
	require.Contains(t, r.stdout, `CREATE TABLE "shop"."events"`)
	require.Contains(t, outbox("migrate", "print", "--database-url", "postgres://nobody@127.0.0.1:1/x").require(t, statusDone).stdout, "plpgsql")
}

// A database that answers says by itself where migrate up would create the tables.
func TestMigratePrintAsksTheDatabase(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	var name string
	require.NoError(t, testdb.Open(t, dsn).QueryRowContext(t.Context(), `SELECT current_schema()`).Scan(&name))
	require.NotEqual(t, "public", name)
	q := u.Query()
	q.Del("search_path")
	q.Set("options", "-csearch_path="+name)
	u.RawQuery = q.Encode()
	text := outbox("migrate", "print", "--database-url", u.String()).require(t, statusDone).stdout
	require.True(t, strings.HasPrefix(text, "-- For the schema "+name+", where the database creates tables for this user;"), text[:100])
	require.Contains(t, text, `CREATE TABLE "`+name+`"."outbox"`)
	require.NotContains(t, text, "did not answer")

	q.Set("options", "-csearch_path=nowhere")
	u.RawQuery = q.Encode()
	require.Contains(t, outbox("migrate", "print", "--database-url", u.String()).require(t, statusDone).stdout, "-- For the schema public, because neither")
}

func withoutQuery(t *testing.T, text, name string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	q := u.Query()
	q.Del(name)
	u.RawQuery = q.Encode()
	return u.String()
}

// What up would create where, print says: a search_path in the URL is followed by both.
func TestMigratePrintIsForTheSchemaOfTheURL(t *testing.T) {
	t.Parallel()
	const base = "postgres://nobody@127.0.0.1:1/x"
	for name, c := range map[string]struct {
		args   []string
		header string
		table  string
	}{
		"no schema":             {[]string{base}, "public, because neither --schema nor the search_path", `"public"."outbox"`},
		"no URL":                {[]string{"", "--dialect", "postgres"}, "public, because neither", `"public"."outbox"`},
		"a search_path":         {[]string{base + "?search_path=shop"}, "shop, set by the search_path of the database URL", `"shop"."outbox"`},
		"several":               {[]string{base + "?search_path=%22%24user%22,%20Shop,public"}, "shop, the first in the search_path", `"shop"."outbox"`},
		"only the user's":       {[]string{base + "?search_path=%22%24user%22"}, "public, because neither", `"public"."outbox"`},
		"--schema wins":         {[]string{base + "?search_path=shop", "--schema", "own"}, "own, set by --schema", `"own"."outbox"`},
		"the URL and a dialect": {[]string{base + "?search_path=shop", "--dialect", "postgres"}, "shop, set by the search_path", `"shop"."outbox"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := outbox(append([]string{"migrate", "print", "--database-url"}, c.args...)...).require(t, statusDone).stdout
			first, _, _ := strings.Cut(text, "\n")
			require.Contains(t, first, "-- For the schema "+c.header)
			require.Contains(t, text, "CREATE TABLE "+c.table)
			require.Equal(t, c.args[0] != "" && !slices.Contains(c.args, "--schema"), strings.Contains(text, "-- The database did not answer"))
		})
	}
	require.NotContains(t, outbox("migrate", "print", "--dialect", "sqlite").require(t, statusDone).stdout, "For the schema")
	require.Contains(t, outbox("migrate", "print", "--database-url", base+"?search_path=a%20b").require(t, statusUsage).stderr, "--database-url: ")
}
