package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows how far the demo is: one line that is redrawn on a terminal, else a new line now and then.
type progress struct {
	w            io.Writer
	width        int // of the terminal; 0 when there is none
	shop         *shop
	orders       int
	destinations []*destination
	outage       *outage

	quit, done chan struct{}
	once       sync.Once
}

func startProgress(w io.Writer, s *shop, orders int, destinations []*destination, o *outage) *progress {
	p := &progress{w: w, shop: s, orders: orders, destinations: destinations, outage: o,
		quit: make(chan struct{}), done: make(chan struct{})}
	interval := time.Second
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		interval, p.width = 100*time.Millisecond, 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			p.width = width
		}
	}
	go p.run(interval)
	return p
}

func (p *progress) run(interval time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.draw()
		case <-p.quit:
			p.draw()
			if p.width > 0 {
				fmt.Fprintln(p.w)
			}
			return
		}
	}
}

func (p *progress) draw() {
	var b strings.Builder
	fmt.Fprintf(&b, "orders %d/%d", p.shop.committed.Load(), p.orders)
	received := map[string]int{}
	for _, d := range p.destinations {
		received[d.broker] += d.count()
	}
	for _, broker := range slices.Sorted(maps.Keys(received)) {
		fmt.Fprintf(&b, "   %s %d", broker, received[broker])
		if broker == "redis" && p.outage.down() {
			b.WriteString(" (down)")
		}
	}
	if p.width == 0 {
		fmt.Fprintln(p.w, b.String())
		return
	}
	line := b.String()
	fmt.Fprintf(p.w, "\r\x1b[K%s", line[:min(len(line), p.width-1)])
}

// stop shows the last state. Stopping twice is harmless.
func (p *progress) stop() {
	p.once.Do(func() { close(p.quit) })
	<-p.done
}
