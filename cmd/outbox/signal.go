package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// secondThought is how long after the first signal another one cannot be the same: timeout and some supervisors signal a process and then its group.
const secondThought = time.Second

// interruptible returns a context that ends with SIGINT or SIGTERM, and a function that ends its watch. An interrupt later than that, which a person at
// a terminal sends, calls force, when it is not nil, and exits; force must not take long. SIGTERM asks, however often it comes: supervisors that are
// out of patience send SIGKILL.
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
						fmt.Fprintln(os.Stderr, "outbox: interrupted again, exiting before the work has ended")
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
