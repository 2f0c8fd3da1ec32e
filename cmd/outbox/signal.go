package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// secondThought is the time after which a signal counts as a second one: timeout(1) and some supervisors signal a process, and then its group.
const secondThought = time.Second

// interruptible returns a context that ends with SIGINT or SIGTERM, and a function that stops watching for them. A second SIGINT, which a person at a
// terminal sends, calls force, unless it is nil, and exits; force must return soon. A second SIGTERM is ignored: supervisors that lose patience send
// SIGKILL.
func interruptible(ctx context.Context, force func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case s := <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel()
				case s == os.Interrupt && time.Since(first) >= secondThought:
					if force != nil {
						force()
					} else {
						fmt.Fprintln(os.Stderr, "outbox: interrupted again, exiting before the work is done")
					}
					os.Exit(statusFailed)
				}
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		cancel()
	}
}
