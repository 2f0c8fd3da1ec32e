package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// hostsOf returns the servers of a URL in the order in which they are tried.
func hostsOf(config *pgx.ConnConfig) (hosts []string) {
	add := func(host string, port uint16) {
		at := net.JoinHostPort(host, fmt.Sprint(port))
		if strings.HasPrefix(host, "/") {
			at = host
		}
		if !slices.Contains(hosts, at) { // with and without TLS
			hosts = append(hosts, at)
		}
	}
	add(config.Host, config.Port)
	for _, f := range config.Fallbacks {
		add(f.Host, f.Port)
	}
	return hosts
}

// explainHosts returns an error with the reason for every server of the URL.
func (s source) explainHosts(err *pgconn.ConnectError) error {
	all := []error{err.Unwrap()}
	if joined, ok := err.Unwrap().(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var hosts []string
	reasons := map[string]string{}
	for _, one := range all {
		// The driver gives the address only in the text, as in "address (host): ...".
		at, rest, found := strings.Cut(one.Error(), " (")
		if _, text, ok := strings.Cut(rest, "): "); found && ok {
			rest = text
		} else {
			at, rest = "", one.Error()
		}
		var refused *pgconn.PgError
		var name *net.DNSError
		var network *net.OpError
		switch {
		case errors.As(one, &refused):
			rest = refused.Message
		case errors.As(one, &name):
			at, rest = name.Name, "no such host"
		case errors.Is(one, pgconn.ErrReadOnlyConnection):
			rest = "it is read-only, and target_session_attrs requires one that accepts writes"
		case errors.Is(one, context.DeadlineExceeded), os.IsTimeout(one):
			rest = "no answer"
		case errors.As(one, &network):
			rest = network.Err.Error()
		}
		_, tried := reasons[at]
		if !tried {
			hosts = append(hosts, at)
		}
		if !tried || !strings.HasPrefix(rest, "tls error") { // sslmode prefer and allow try both ways
			reasons[at] = redact.Text(oneLine(strings.TrimPrefix(at+": "+rest, ": ")))
		}
	}
	list := make([]string, 0, len(hosts))
	for _, at := range hosts {
		list = append(list, reasons[at])
	}
	return fmt.Errorf("cannot connect to any of %s: %s; start one of them, or correct the database URL", s.name, strings.Join(list, "; "))
}
