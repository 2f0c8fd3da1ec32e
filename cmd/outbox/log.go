package main

import (
	"io"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/config"
)

// log is where commands and Watermill write to: structured, as text or JSON.
type log struct {
	*slog.Logger
	watermill watermill.LoggerAdapter
}

var levels = map[string]slog.Level{
	"trace": watermill.LevelTrace, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func newLog(w io.Writer, c config.Monitoring) log {
	options := &slog.HandlerOptions{Level: levels[c.LogLevel], ReplaceAttr: nameTrace}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	logger := slog.New(handler)
	return log{Logger: logger, watermill: watermill.NewSlogLogger(logger)}
}

func nameTrace(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && level == watermill.LevelTrace {
		a.Value = slog.StringValue("TRACE")
	}
	return a
}
