package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress is a progress bar on the last line of a terminal. It shows nothing elsewhere.
type progress struct {
	w     io.Writer // nil where there is no terminal
	next  time.Time
	shown bool
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{w: w}
	}
	return &progress{}
}

// show draws the bar at most ten times per second. done is from 0 to 1.
func (p *progress) show(done float64, text string) {
	const width = 30
	if now := time.Now(); p.w != nil && now.After(p.next) {
		p.next, p.shown = now.Add(100*time.Millisecond), true
		full := int(done * width)
		fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(" ", width-full), done*100, text)
	}
}

// clear removes the bar before other output.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
