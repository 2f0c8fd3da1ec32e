package main

import (
	stdlog "log"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

// seldomLog logs what libraries report of faults that strangers or a broken network can repeat at will: at most one line per minute, with the number
// of those left out.
type seldomLog struct {
	log     log
	message string
	clean   func(string) string // removes what strangers may have written
	line    *seldom.Line
}

func (l log) seldom(message string, clean func(string) string) *seldomLog {
	return &seldomLog{l, message, clean, seldom.New(time.Minute)}
}

// Write implements io.Writer for package log, which writes one line at a time.
func (s *seldomLog) Write(p []byte) (int, error) {
	s.report(string(p))
	return len(p), nil
}

// Handle implements otel.ErrorHandler.
func (s *seldomLog) Handle(err error) { s.report(err.Error()) }

func (s *seldomLog) report(text string) {
	const most = 300
	if more, due := s.line.Due(); due {
		text = s.clean(text[:min(len(text), 10*most)])
		s.log.Warn(s.message, slog.String("error", strings.ToValidUTF8(text[:min(len(text), most)], "")), slog.Int("more", more))
	}
}

var quotation = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// takeStandardLog redirects package log, which libraries print to, into l. Quotations are left out: net/http quotes what a webhook sends out of turn.
func takeStandardLog(l log) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(l.seldom("A library reports a fault", func(text string) string {
		return quotation.ReplaceAllString(strings.TrimSpace(text), `"..."`)
	}))
}

// redacted is the clean of texts that have no stranger's words.
func redacted(text string) string { return redact.Text(oneLine(text)) }
