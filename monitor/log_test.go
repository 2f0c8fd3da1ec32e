package monitor_test

import "github.com/ThreeDotsLabs/watermill"

// lines is a logger that hands on what it is told.
type lines struct{ added chan string }

func (l *lines) Error(msg string, _ error, _ watermill.LogFields) { l.added <- msg }
func (l *lines) Info(msg string, _ watermill.LogFields)           { l.added <- msg }
func (l *lines) Debug(string, watermill.LogFields)                {}
func (l *lines) Trace(string, watermill.LogFields)                {}
func (l *lines) With(watermill.LogFields) watermill.LoggerAdapter { return l }
