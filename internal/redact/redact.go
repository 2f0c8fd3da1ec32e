// Package redact takes what may be secret out of URLs, before people or logs get to see them.
package redact

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Hidden stands for what must not be shown.
const Hidden = "xxxxx"

// open are the schemes of which the path names something that is no secret: a database, a topic or a file. Of all others, webhooks first, the path may be
// the secret, and so may be the user and every option that is not one of plain.
var open = map[string]bool{
	"postgres": true, "postgresql": true, "sqlite": true, "sqlite3": true, "file": true, "redis": true, "rediss": true, "kafka": true, "amqp": true, "amqps": true,
	"nats": true, "pulsar": true, "pulsar+ssl": true, "console": true,
}

// plain are the options of webhooks that are no secret.
var plain = []string{"timeout", "append_topic", "content_type", "tls_ca", "tls_cert", "tls_key"}

// URL returns a URL without what may be secret in it: the password, a user without one, the path of a webhook, options that are named like a secret, and
// everything when it cannot be told where these are.
func URL(raw string) string {
	scheme, rest, found := strings.Cut(raw, ":")
	if !found || strings.ContainsAny(scheme, "@/ =,") {
		return Hidden
	}
	known := open[strings.ToLower(scheme)]
	end := len(rest)
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if i := strings.IndexAny(after, "/?#"); i >= 0 {
			end = i + 2
		}
	} else if strings.Contains(rest, "@") || !known {
		return Hidden
	} else if i := strings.IndexAny(rest, "?#"); i >= 0 {
		end = i
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(rest, "@") || strings.Contains(rest, "#") { // of a password that is not escaped, perhaps
		return scheme + "://" + Hidden
	}
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, password, _ := strings.Cut(strings.TrimPrefix(authority[:at], "//"), ":")
		switch {
		case password != "" && known:
			user += ":" + Hidden
		case !strings.HasPrefix(scheme, "postgres"):
			user = Hidden // a token
		}
		authority = "//" + user + authority[at:]
	}
	path, query, some := strings.Cut(rest, "?")
	if path = strings.TrimPrefix(path, "/"); path != "" && !known {
		path = Hidden
	}
	if strings.HasPrefix(rest, "/") {
		path = "/" + path
	}
	text := scheme + ":" + authority + path
	if !some {
		return text
	}
	options := strings.Split(query, "&")
	for i, option := range options {
		if name, _, ok := strings.Cut(option, "="); !ok && option != "" {
			options[i] = Hidden
		} else if secretOption(name) || !known && !slices.Contains(plain, name) {
			options[i] = shownName(name) + "=" + Hidden
		}
	}
	return text + "?" + strings.Join(options, "&")
}

// secretOption reports whether the option of a URL is named like a secret, or is a header or parameter of requests, which may be one. The names of key
// files are none.
func secretOption(name string) bool {
	name, err := url.QueryUnescape(strings.ToLower(name))
	if err != nil || strings.HasPrefix(name, "header.") || strings.HasPrefix(name, "query.") {
		return true
	}
	if name == "tls_key" || name == "sslkey" {
		return false
	}
	for _, part := range []string{"pass", "secret", "token", "auth", "key", "cookie", "credential", "signature"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// shownName is the name of an option, unless it is too long for one.
func shownName(name string) string {
	if len(name) > 64 {
		return Hidden
	}
	return name
}

var (
	urls = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]*[^\s"'<>:;,.)]`)
	// passwords are those of connection strings such as host=db password=tiger.
	passwords = regexp.MustCompile(`(?i)\b((?:ssl)?password|passwd|pwd)\s*=\s*('[^']*'|[^\s'"]+)`)
)

// Text returns text with every URL in it redacted that holds a user or is that of a webhook, and without the passwords of connection strings. Names of
// destinations, such as kafka://orders, stay.
func Text(text string) string {
	if strings.Contains(text, "://") {
		text = urls.ReplaceAllStringFunc(text, func(raw string) string {
			scheme, rest, _ := strings.Cut(raw, "://")
			scheme = strings.ToLower(scheme)
			webhook := scheme == "http" || scheme == "https"
			switch {
			case strings.HasPrefix(rest, "user:password@"): // how one is written
				return raw
			case webhook, strings.Contains(rest, "@"):
				return URL(raw)
			}
			return raw
		})
	}
	if strings.Contains(text, "=") {
		text = passwords.ReplaceAllString(text, "$1="+Hidden)
	}
	return text
}
