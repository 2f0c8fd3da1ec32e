package adapters

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// parse is url.Parse for a URL that may hold a secret and a list of hosts. The error quotes nothing but the scheme:
// a password with an unescaped character ends up in any other part.
func parse(rawURL string) (*url.URL, error) {
	scheme, rest, found := strings.Cut(rawURL, "://")
	if !found || !schemePattern.MatchString(scheme) {
		return nil, errors.New("publisher URL must have the form scheme://host")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	start := strings.LastIndex(rest[:end], "@") + 1
	hosts := rest[start:end]
	first, _, list := strings.Cut(hosts, ",")

	// url.Parse takes one host: give it the first, and put the others back.
	u, err := url.Parse(scheme + "://" + rest[:start] + first + rest[end:])
	if err == nil {
		_, err = url.ParseQuery(u.RawQuery)
	}
	if err != nil {
		return nil, fmt.Errorf("%s URL: %s", strings.ToLower(scheme), urlFault(err))
	}
	if list {
		for host := range strings.SplitSeq(hosts, ",") {
			if _, err := url.Parse("//" + host); err != nil || host == "" || strings.Contains(host, "%") {
				return nil, fmt.Errorf("%s URL: host list must be host:port,host:port", u.Scheme)
			}
		}
		u.Host = hosts
	}
	return u, nil
}

// urlFault says what is wrong in err without quoting the URL, as url.Error does.
func urlFault(err error) string {
	const hint = "; percent-encode special characters in the user name and the password"
	var escape url.EscapeError
	var host url.InvalidHostError
	switch text := err.Error(); {
	case errors.As(err, &escape):
		return "invalid % escape" + hint
	case errors.As(err, &host):
		return "invalid character in the host"
	case strings.Contains(text, "invalid port"):
		return "invalid port" + hint
	case strings.Contains(text, "invalid userinfo"):
		return "invalid character in the user name or password" + hint
	case strings.Contains(text, "invalid semicolon separator"):
		return "options are separated by &, not by ;"
	}
	return "cannot be parsed" + hint
}
