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

// source is the database of a URL.
type source struct {
	dialect schema.Dialect
	name    string // for messages; without secrets

	hosts    int // number of servers, which are tried in turn
	postgres *pgx.ConnConfig
	sqlite   sqliteFile
}

// parseSource parses a database URL. The error does not quote parts that may be secret.
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
		return source{}, errors.New("has no scheme; " + known)
	}
	return source{}, fmt.Errorf("unknown scheme %q; %s", scheme, known)
}

func parsePostgres(rawURL string) (source, error) {
	// url.Parse first, because the driver's own error may quote the password.
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.User == nil && strings.Contains(rawURL, "@") && !u.Query().Has("user") {
		return source{}, errors.New("is not a URL; want postgres://user:password@host:port/database, with a number for the port, and special characters of the password percent-encoded")
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
	// These override the settings of the database and the role. The simple protocol requires the second one.
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

// databaseName returns the name of the database. It defaults to the name of the user.
func databaseName(config *pgx.ConnConfig) string {
	if config.Database == "" {
		return config.User
	}
	return config.Database
}

// searchPath returns the schemas in the search_path of the URL, except for "$user", which may not exist.
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
