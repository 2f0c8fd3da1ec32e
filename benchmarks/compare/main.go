// Command compare measures this project's forwarder side by side with Watermill's own, on real services, and prints a Markdown table.
//
//	go run ./compare --database-url postgres://... --redis-url redis://...
//
// It makes databases of its own, named watermill_outbox_bench_PID_..., and drops them at the end; the user needs CREATEDB. In Redis it uses
// the stream watermill-outbox-bench, which it deletes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are what a series of runs has in common.
type settings struct {
	databaseURL, redisURL string // never written down

	Events       []int         `json:"events"`
	Destinations []string      `json:"destinations"`
	Systems      []string      `json:"systems"`
	Only         string        `json:"only,omitempty"`
	Repeats      int           `json:"repeats"`
	Keys         int           `json:"keys"`
	Zipf         float64       `json:"zipf"` // 0: uniform
	Window       time.Duration `json:"window_ns"`

	results, profile, from string
	only                   *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	if err := run(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	var events, destinations, list string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.databaseURL, "database-url", os.Getenv("OUTBOX_TEST_POSTGRES_URL"), "PostgreSQL `URL`; the user needs CREATEDB")
	f.StringVar(&s.redisURL, "redis-url", os.Getenv("OUTBOX_TEST_REDIS_URL"), "Redis `URL`; without one Redis is left out")
	f.StringVar(&events, "events", "100000,1000000", "backlogs to drain")
	f.StringVar(&destinations, "destinations", "nothing,redis,1ms", "of "+strings.Join(destinationNames(), ", "))
	f.StringVar(&list, "systems", "stock,ours", "of stock, ours")
	f.StringVar(&s.Only, "only", "", "`regexp` of destination/events, as in redis/1000000")
	f.IntVar(&s.Repeats, "repeats", 3, "runs of each")
	f.IntVar(&s.Keys, "keys", 10_000, "ordering keys")
	f.Float64Var(&s.Zipf, "zipf", 0, "`exponent` of zipf-distributed keys, above 1; uniform when 0")
	f.DurationVar(&s.Window, "window", 20*time.Second, "what is measured of a stock run that would take longer")
	f.StringVar(&s.results, "results", "results", "`directory` for raw results; none when empty")
	f.StringVar(&s.profile, "profile", "", "`directory` for CPU and allocation profiles of ours")
	f.StringVar(&s.from, "from", "", "print the table of a `file` of raw results and measure nothing")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	var faults []error
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if s.databaseURL == "" && s.from == "" {
		faults = append(faults, errors.New("--database-url is missing"))
	}
	for _, text := range strings.Split(events, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100_000_000 {
			faults = append(faults, fmt.Errorf("--events: %q is no number between 1 and 100 million", text))
		}
		s.Events = append(s.Events, n)
	}
	for _, d := range strings.Split(destinations, ",") {
		if !slices.Contains(destinationNames(), d) {
			faults = append(faults, fmt.Errorf("--destinations: %q is none of %v", d, destinationNames()))
		}
		if strings.HasPrefix(d, "redis") && s.redisURL == "" {
			fmt.Fprintf(out, "compare: no --redis-url, destination %s is left out\n", d)
			continue
		}
		s.Destinations = append(s.Destinations, d)
	}
	for _, name := range strings.Split(list, ",") {
		if name != "stock" && name != "ours" {
			faults = append(faults, fmt.Errorf("--systems: %q is neither stock nor ours", name))
		}
		s.Systems = append(s.Systems, name)
	}
	var err error
	if s.only, err = regexp.Compile(s.Only); err != nil {
		faults = append(faults, fmt.Errorf("--only: %w", err))
	}
	if s.Repeats < 1 || s.Keys < 1 || s.Keys > 99_999_999 || s.Window <= 0 {
		faults = append(faults, errors.New("--repeats, --keys and --window must be positive, and keys below 100 million"))
	}
	if s.Zipf != 0 && s.Zipf <= 1 {
		faults = append(faults, errors.New("--zipf must be above 1"))
	}
	return s, errors.Join(faults...)
}

func run(ctx context.Context, s settings, out, progress io.Writer) error {
	if s.from != "" {
		r, err := load(s.from)
		if err != nil {
			return err
		}
		return r.table(out)
	}
	l, err := openLab(ctx, s, progress)
	if err != nil {
		return err
	}
	defer l.close()
	r := report{Settings: s, Machine: l.machine(ctx), Started: time.Now().UTC()}
	err = l.series(ctx, func(m measurement) error {
		r.Runs = append(r.Runs, m)
		return r.save(s.results)
	})
	if len(r.Runs) == 0 {
		return err
	}
	return errors.Join(err, r.table(out))
}
