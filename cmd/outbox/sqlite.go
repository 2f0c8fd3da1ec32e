package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// sqliteFile is a database file and the options of its URL.
type sqliteFile struct {
	path    string
	options url.Values
}

// parseSQLite parses sqlite:path, sqlite:///path and file:path, each with optional driver options after a question mark.
func parseSQLite(scheme, rest string) (source, error) {
	path, query, _ := strings.Cut(rest, "?")
	if after, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(after, "/") {
			return source{}, fmt.Errorf("write %s:%s for a file in the current directory, or %s:///path for a path from the root", scheme, after, scheme)
		}
		path = after
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return source{}, errors.New("invalid % escape in the path; write %25 for a percent sign")
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return source{}, errors.New("the options behind ? cannot be parsed; want name=value, separated by &")
	}
	switch {
	case path == ":memory:" || options.Get("mode") == "memory":
		return source{}, errors.New("a database in memory is lost when this process ends; name a file")
	case path == "":
		return source{}, fmt.Errorf("no file; want %s:path", scheme)
	}
	return source{
		dialect: schema.SQLite,
		name:    "SQLite file " + path,
		sqlite:  sqliteFile{path: path, options: options},
	}, nil
}

// dsn returns the driver's name of the file. Unless the options say otherwise, writers wait for each other instead of failing.
func (f sqliteFile) dsn(create bool) string {
	options := url.Values{}
	for name, values := range f.options {
		options[name] = values
	}
	for _, pragma := range []string{"journal_mode(WAL)", "busy_timeout(10000)", "synchronous(NORMAL)", "foreign_keys(1)"} {
		name, _, _ := strings.Cut(pragma, "(")
		if !setsPragma(f.options, name) {
			options["_pragma"] = append(options["_pragma"], pragma)
		}
	}
	if !options.Has("_txlock") {
		options.Set("_txlock", "immediate")
	}
	if !options.Has("mode") && !create {
		options.Set("mode", "rw")
	}
	return "file:" + (&url.URL{Path: f.path}).EscapedPath() + "?" + options.Encode()
}

func setsPragma(options url.Values, name string) bool {
	for _, pragma := range options["_pragma"] {
		if strings.HasPrefix(strings.ToLower(pragma), name) {
			return true
		}
	}
	return false
}
