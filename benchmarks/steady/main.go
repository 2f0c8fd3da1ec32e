// Command steady measures how long events take from commit to arrival while they are published at a constant rate.
//
//	go run ./steady --database-url postgres://... --rate 500 --low-latency --late 5s
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/bento-outbox/watermill-outbox/benchmarks/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var s lab.Steady
	flag.StringVar(&s.DatabaseURL, "database-url", os.Getenv("OUTBOX_TEST_POSTGRES_URL"), "PostgreSQL `URL`; the user needs CREATEDB")
	flag.IntVar(&s.Rate, "rate", 500, "events a second; with 0 the forwarder is idle")
	flag.IntVar(&s.PerTransaction, "per-transaction", 1, "events a transaction")
	flag.DurationVar(&s.Duration, "duration", 30*time.Second, "of the load")
	flag.BoolVar(&s.LowLatency, "low-latency", false, "the low-latency profile instead of the defaults")
	flag.BoolVar(&s.Router, "router", false, "run the forwarder on an application's Router, instead of by itself as outbox run does")
	flag.BoolVar(&s.Held, "held", false, "keep an unrelated transaction open, and one in another database")
	flag.DurationVar(&s.Late, "late", 0, "how often a transaction commits 3 s after it published; 0 for never")
	flag.DurationVar(&s.Idle, "idle", 0, "publish one event after each such pause, instead of a rate")
	flag.StringVar(&s.Results, "results", "results", "`directory` for raw results; none when empty")
	flag.Parse()
	fmt.Print(lab.SteadyHeader)
	if err := lab.RunSteady(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
}
