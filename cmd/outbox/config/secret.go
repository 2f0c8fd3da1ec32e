package config

import (
	"net/url"
	"strings"
)

// hidden stands for what must not be shown.
const hidden = "xxxxx"

// Hide returns a URL without what may be secret in it: the password, the values of options that are named like one, and everything when it cannot
// be told where these are.
func Hide(rawURL string) string {
	scheme, rest, found := strings.Cut(rawURL, ":")
	if !found || strings.ContainsAny(scheme, "@/ =,") {
		return hidden
	}
	end := len(rest)
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if i := strings.IndexAny(after, "/?#"); i >= 0 {
			end = i + 2
		}
	} else if strings.Contains(rest, "@") {
		return hidden
	} else if i := strings.IndexAny(rest, "?#"); i >= 0 {
		end = i
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(rest, "@") || strings.Contains(rest, "#") { // of a password that is not escaped, perhaps
		return scheme + "://" + hidden
	}
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, _, password := strings.Cut(authority[:at], ":")
		if password {
			user += ":" + hidden
		}
		authority = user + authority[at:]
	}
	path, query, some := strings.Cut(rest, "?")
	if !some {
		return scheme + ":" + authority + hidePath(path)
	}
	options := strings.Split(query, "&")
	for i, option := range options {
		if name, _, ok := strings.Cut(option, "="); ok && secretName(name) {
			options[i] = name + "=" + hidden
		}
	}
	return scheme + ":" + authority + hidePath(path) + "?" + strings.Join(options, "&")
}

// hidePath hides parts that look random: the address of a webhook may be the secret.
func hidePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if len(part) >= 16 && strings.ContainsAny(part, "0123456789") && !strings.ContainsAny(part, ".\\") {
			parts[i] = hidden
		}
	}
	return strings.Join(parts, "/")
}

// secretName tells whether the option of a URL is named like a secret, or is a header or parameter of requests, which may be one. The names of
// key files are none.
func secretName(name string) bool {
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

// shown is what people may see of an item of the setting.
func (s Setting) shown(item string) string {
	switch s.secret {
	case "":
		return item
	case "value":
		return hidden
	}
	if !s.named() {
		return Hide(item)
	}
	name, url, _ := strings.Cut(item, "=")
	return name + "=" + Hide(url)
}
