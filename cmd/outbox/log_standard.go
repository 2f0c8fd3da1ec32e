package main

import (
	standard "log"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

// takeStandardLog takes what libraries print by package log into l. Net/http does, and quotes the beginning of what a webhook sends out of turn: what
// is quoted is left out, for nobody knows what it is, and so is what is repeated within a minute, for strangers bring it about.
func takeStandardLog(l log) {
	standard.SetFlags(0)
	standard.SetOutput(&standardLog{l, seldom.New(time.Minute)})
}

type standardLog struct {
	log  log
	line *seldom.Line
}

var quotation = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// Write takes one line.
func (s *standardLog) Write(p []byte) (int, error) {
	const limit = 500
	if hushed, due := s.line.Due(); due {
		text := quotation.ReplaceAllString(strings.TrimSpace(string(p[:min(len(p), 10*limit)])), `"..."`)
		s.log.Warn("A library reports", slog.String("text", strings.ToValidUTF8(text[:min(len(text), limit)], "")), slog.Int("hushed", hushed))
	}
	return len(p), nil
}
