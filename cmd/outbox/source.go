package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// source is a database that a URL names.
type source struct {
	dialect schema.Dialect
	name    string // for messages; has no secret

	hosts    int // that are tried one after the other
	postgres *pgx.ConnConfig
	sqlite   sqliteFile
}

// parseSource reads a database URL. The error quotes no part of it that may hold a secret.
func parseSource(rawURL string) (source, error) {
	scheme, rest, found := strings.Cut(rawURL, ":")
	switch strings.ToLower(scheme) {
	case "postgres", "postgresql":
		return parsePostgres(strings.ToLower(scheme) + ":" + rest)
	case "sqlite", "sqlite3", "file":
		return parseSQLite(strings.ToLower(scheme), rest)
	}
	const known = "postgres://user:password@host/database, sqlite:path and sqlite:///path are known"
	if !found || strings.ContainsAny(scheme, "@/ =") {
		return source{}, errors.New("it has no scheme; " + known)
	}
	return source{}, fmt.Errorf("unknown scheme %q; %s", scheme, known)
}

func parsePostgres(rawURL string) (source, error) {
	// url.Parse first, because the driver's own error may quote the password.
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.User == nil && strings.Contains(rawURL, "@") && !u.Query().Has("user") {
		return source{}, errors.New("it is no URL; want postgres://user:password@host:port/database, with a number for the port, and special characters of the password percent-encoded")
	}
	config, err := pgx.ParseConfig(rawURL)
	if err != nil {
		reason := err
		if inner := errors.Unwrap(err); inner != nil {
			reason = inner
		}
		password, _ := u.User.Password()
		return source{}, errors.New(without(oneLine(reason.Error()), password, u.Query().Get("password"), u.Query().Get("sslpassword")))
	}
	if !u.Query().Has("connect_timeout") {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "outbox"
	}
	// Whatever the database or the role is set to. Without the second the driver refuses its simple protocol.
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		config.RuntimeParams["standard_conforming_strings"] = "on"
	}
	hosts := hostsOf(config)
	return source{
		dialect:  schema.PostgreSQL,
		name:     fmt.Sprintf("PostgreSQL at %s, database %q", strings.Join(hosts, " or "), databaseName(config)),
		hosts:    len(hosts),
		postgres: config,
	}, nil
}

// without replaces secrets in text.
func without(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, redact.Hidden)
		}
	}
	return text
}

// databaseName returns the database that a connection ends up in: the server takes the user's name where none is given.
func databaseName(config *pgx.ConnConfig) string {
	if config.Database == "" {
		return config.User
	}
	return config.Database
}

// searchPath returns the schemas that the search_path of the URL names, but for that of the user, which may not be there.
func (s source) searchPath() []string {
	if s.postgres == nil {
		return nil
	}
	var path []string
	for name := range strings.SplitSeq(s.postgres.RuntimeParams["search_path"], ",") {
		name = strings.TrimSpace(name)
		if quoted, ok := strings.CutPrefix(name, `"`); ok {
			name = strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
		} else {
			name = strings.ToLower(name)
		}
		if name != "" && name != "$user" {
			path = append(path, name)
		}
	}
	return path
}

func (s source) sqlDB(create bool, p pool) *sql.DB {
	if s.postgres != nil {
		return stdlib.OpenDB(*s.postgres, p.postgres()...)
	}
	db, err := sql.Open("sqlite", s.sqlite.dsn(create))
	if err != nil {
		panic(err) // the driver is not registered
	}
	return db
}
