package main

import (
	"io"
	"log/slog"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
)

// log is where commands and Watermill write to: structured text.
type log struct {
	*slog.Logger
	watermill watermill.LoggerAdapter
}

var levels = map[string]slog.Level{
	"trace": watermill.LevelTrace, "debug": slog.LevelDebug, "info": slog.LevelInfo,
	"warn": slog.LevelWarn, "warning": slog.LevelWarn, "error": slog.LevelError,
}

func newLog(w io.Writer, level string, f *faults) log {
	l, ok := levels[strings.ToLower(level)]
	if !ok {
		f.add("--log-level: %q is none of trace, debug, info, warn, error", level)
	}
	logger := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: nameTrace}))
	return log{Logger: logger, watermill: watermill.NewSlogLogger(logger)}
}

func nameTrace(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && level == watermill.LevelTrace {
		a.Value = slog.StringValue("TRACE")
	}
	return a
}
