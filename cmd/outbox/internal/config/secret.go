package config

import (
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// shown is what people may see of an item of the setting.
func (s Setting) shown(item string) string {
	switch s.secret {
	case "":
		return item
	case "value":
		return redact.Hidden
	}
	if !s.named() {
		return redact.URL(item)
	}
	name, url, _ := strings.Cut(item, "=")
	return name + "=" + redact.URL(url)
}

// Shown returns the value of s in c as texts that people may see.
func (c *Config) Shown(s Setting) []string {
	items := c.Text(s)
	shown := make([]string, len(items))
	for i, item := range items {
		shown[i] = s.shown(item)
	}
	return shown
}
