package main

import (
	"io"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// log is the structured log of commands and of Watermill.
type log struct {
	*slog.Logger
	watermill watermill.LoggerAdapter
}

var levels = map[string]slog.Level{
	"trace": watermill.LevelTrace, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func newLog(w io.Writer, c config.Monitoring) log {
	options := &slog.HandlerOptions{Level: levels[c.LogLevel], ReplaceAttr: shown}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	logger := slog.New(handler)
	return log{Logger: logger, watermill: watermill.NewSlogLogger(logger)}
}

// shown names the level TRACE, which slog does not know, and redacts URLs in errors, which libraries may have written.
func shown(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case slog.Level:
		if a.Key == slog.LevelKey && v == watermill.LevelTrace {
			a.Value = slog.StringValue("TRACE")
		}
	case error:
		a.Value = slog.StringValue(redact.Text(v.Error()))
	}
	return a
}
