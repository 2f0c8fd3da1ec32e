// Command compare measures this project's forwarder side by side with Watermill's own, on real services, and prints a Markdown table.
//
//	go run ./compare --database-url postgres://... --redis-url redis://... --destinations nothing,redis
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/benchmarks/lab"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // for all systems, as the command outbox does
	}
	if lab.Child() { // a forwarder process of a run
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, from, chart, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil && chart != "":
		err = lab.Chart(strings.Split(chart, ","), os.Stdout)
	case err == nil && from != "":
		err = lab.Table(from, os.Stdout)
	case err == nil:
		err = lab.Run(ctx, s, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (s lab.Settings, from, chart string, err error) {
	var events, destinations, systems string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.DatabaseURL, "database-url", os.Getenv("OUTBOX_TEST_POSTGRES_URL"), "PostgreSQL `URL`; the user needs CREATEDB")
	f.StringVar(&s.RedisURL, "redis-url", os.Getenv("OUTBOX_TEST_REDIS_URL"), "Redis `URL`")
	f.StringVar(&s.KafkaURL, "kafka-url", os.Getenv("OUTBOX_TEST_KAFKA_URL"), "Kafka `URL`")
	f.StringVar(&events, "events", "100000,1000000", "backlogs to drain")
	f.StringVar(&destinations, "destinations", "nothing,1ms", "of "+strings.Join(lab.Destinations(), ", "))
	f.StringVar(&systems, "systems", "stock,ours", "of "+strings.Join(lab.Systems(), ", "))
	f.StringVar(&s.Only, "only", "", "`regexp` of destination/events, as in redis/1000000")
	f.IntVar(&s.Repeats, "repeats", 3, "runs of each")
	f.IntVar(&s.Keys, "keys", 10_000, "ordering keys")
	f.Float64Var(&s.Zipf, "zipf", 0, "`exponent` of zipf-distributed keys, above 1; uniform when 0")
	f.IntVar(&s.Payload, "payload", 300, "`bytes` of a payload")
	f.IntVar(&s.Finished, "finished", 0, "finished events that lie in the tables besides")
	f.BoolVar(&s.Unrouted, "unrouted", false, "ours gets no static routes")
	f.IntVar(&s.BatchSize, "batch-size", 0, "events that ours reads at once; its default when 0")
	f.IntVar(&s.MaxConcurrent, "max-concurrent", 0, "events in flight of ours; its default when 0")
	f.DurationVar(&s.Window, "window", 20*time.Second, "what is measured of a stock run that would take longer")
	f.StringVar(&s.Results, "results", "results", "`directory` for raw results; none when empty")
	f.StringVar(&s.Profile, "profile", "", "`directory` for CPU and allocation profiles of ours")
	f.StringVar(&from, "from", "", "print the table of a `file` of raw results and measure nothing")
	f.StringVar(&chart, "chart", "", "draw `files` of raw results, separated by commas, as an SVG and measure nothing")
	if err := f.Parse(args); err != nil {
		return s, "", "", err
	}
	var faults []error
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	for _, text := range strings.Split(events, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("--events: %q is no number", text))
		}
		s.Events = append(s.Events, n)
	}
	s.Destinations, s.Systems = strings.Split(destinations, ","), strings.Split(systems, ",")
	return s, from, chart, errors.Join(faults...)
}
