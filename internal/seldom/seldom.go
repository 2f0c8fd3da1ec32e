// Package seldom limits how often something is logged that others can bring about as often as they like.
package seldom

import (
	"sync"
	"time"
)

// Line lets one line of a log through in each stretch of time. It is safe for concurrent use.
type Line struct {
	every time.Duration

	mu     sync.Mutex
	last   time.Time
	hushed int
}

// New returns a Line that lets one line through in every.
func New(every time.Duration) *Line { return &Line{every: every} }

// Due reports whether a line is due, and how many were not since the last one that was.
func (l *Line) Due() (hushed int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.last.IsZero() || now.Sub(l.last) >= l.every {
		hushed, l.hushed, l.last = l.hushed, 0, now
		return hushed, true
	}
	l.hushed++
	return 0, false
}
