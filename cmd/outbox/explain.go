package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// explain adds to an error of the database what it means and how to remedy it. It returns a [failure], and an error of writing output, as they are. No
// text has the password.
func (s source) explain(err error) error {
	var refused *pgconn.PgError
	var file *sqlite.Error
	var network *net.OpError
	var name *net.DNSError
	var connect *pgconn.ConnectError
	var failed failure
	var output *fs.PathError
	switch {
	case err == nil, errors.As(err, &failed), errors.As(err, &output):
		return err
	case errors.Is(err, schema.ErrSchema):
		return fmt.Errorf("%s: %w", s.name, err)
	case s.hosts > 1 && errors.As(err, &connect):
		return s.explainHosts(connect)
	case errors.As(err, &refused):
		return s.explainPostgres(refused, err)
	case errors.As(err, &file):
		return s.explainSQLite(file, err)
	case errors.As(err, &name):
		return fmt.Errorf("cannot reach %s: no such host; correct the database URL", s.name)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("cannot reach %s: no answer within %s; is it running, and does a firewall block it?", s.name, connectTimeout)
	case errors.As(err, &network):
		return fmt.Errorf("cannot reach %s: %w; start it or correct the database URL", s.name, network.Err)
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

func (s source) explainPostgres(refused *pgconn.PgError, err error) error {
	user := s.postgres.User
	switch refused.Code {
	case "28P01", "28000":
		remedy := "correct user and password in the database URL"
		switch {
		case strings.Contains(refused.Message, "certificate"):
			remedy = "name a certificate of this user by sslcert and sslkey in the database URL"
		case strings.Contains(refused.Message, "no encryption"):
			remedy = "set sslmode=verify-full in the database URL, or allow it in pg_hba.conf"
		}
		return fmt.Errorf("%s refuses user %q: %s; %s", s.name, user, refused.Message, remedy)
	case "3D000":
		return fmt.Errorf("%s does not exist; create it or correct the database URL", s.name)
	case "3F000":
		return fmt.Errorf("%s: %s; create it first or correct --schema", s.name, refused.Message)
	case "42501":
		return fmt.Errorf("%s: user %q lacks a right: %s; grant it, or let somebody who has it run the output of \"outbox migrate print\"",
			s.name, user, refused.Message)
	case "53300":
		return fmt.Errorf("%s has no connections left: %s; end some, make pools smaller, or raise max_connections", s.name, refused.Message)
	case "57P03":
		return fmt.Errorf("%s accepts no connections now: %s; try again later", s.name, refused.Message)
	case "25006":
		remedy := "name one that accepts writes in the database URL"
		if s.hosts > 1 {
			remedy = "add target_session_attrs=read-write to the database URL"
		}
		return fmt.Errorf("%s: the server is read-only (%s); %s", s.name, refused.Message, remedy)
	case "26000", "42P05":
		return fmt.Errorf("%s: %s; a pooler in transaction mode is in between: add default_query_exec_mode=simple_protocol to the database URL", s.name, refused.Message)
	case "42P01":
		return fmt.Errorf("%s: %w; it was dropped: restore it from a backup, or create it with the output of \"outbox migrate print\"", s.name, err)
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

func (s source) explainSQLite(file *sqlite.Error, err error) error {
	switch file.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN:
		if _, statErr := os.Stat(s.sqlite.path); errors.Is(statErr, os.ErrNotExist) {
			return fmt.Errorf("%s does not exist; correct the database URL, or create it with \"outbox migrate up\" in a directory that exists", s.name)
		}
		return fmt.Errorf("%s cannot be opened; it must be a file that this user can read and write", s.name)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s is not a SQLite database; correct the database URL", s.name)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%s is read-only for this user; make the file and its directory writable", s.name)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%s is locked by another process; try again later", s.name)
	}
	return fmt.Errorf("%s: %w", s.name, err)
}
