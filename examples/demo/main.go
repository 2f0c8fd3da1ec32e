// Demo is a shop whose orders and events are saved in one transaction. The events are routed to Kafka, Redis and a webhook.
//
// It needs nothing but Go: SQLite in a temporary file, Kafka, Redis and the webhook inside the process. While it runs, every
// tenth order is rolled back, Redis is down for a while, and one event is poisoned. Where events go is said by routes.yaml and,
// for those about products, by the events themselves: some only if a condition is met, a sample, later, or changed. At the
// end it works out from the committed events where they should have arrived, compares that with what consumers received, and
// exits with 0 only if nothing was lost, repeated or out of order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	redis "github.com/redis/go-redis/v9/logging"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	redis.Disable() // the driver prints by itself; its errors are returned as well
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options is what the command line says.
type options struct {
	orders      int
	databaseURL string
	redisURL    string
	json        bool
	verbose     bool

	// sabotage may stand between the forwarder and its publishers, by name. Tests use it to prove that the demo notices.
	sabotage func(publishers map[string]message.Publisher)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var opts options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&opts.orders, "orders", 300, "how many `orders` are committed")
	flags.StringVar(&opts.databaseURL, "database-url", "", "postgres://... or sqlite:path instead of SQLite in a temporary file")
	flags.StringVar(&opts.redisURL, "redis-url", "", "redis://... instead of Redis inside the process")
	flags.BoolVar(&opts.json, "json", false, "print one JSON object instead of the table")
	flags.BoolVar(&opts.verbose, "verbose", false, "log what the forwarder does")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || opts.orders < 1:
		fmt.Fprintln(stderr, "demo: want flags only, and at least one order; see -help")
		return 2
	}

	report, err := demo(ctx, opts, stderr)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted; what it had created is removed")
		return 1
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	if opts.json {
		err = report.writeJSON(stdout)
	} else {
		err = report.writeTable(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	return exitStatus(report)
}

func exitStatus(r *report) int {
	if r.ok() {
		return 0
	}
	return 1
}

// demo is the whole story.
func demo(ctx context.Context, opts options, progressTo io.Writer) (_ *report, err error) {
	var logger watermill.LoggerAdapter = watermill.NopLogger{}
	if opts.verbose {
		logger = watermill.NewSlogLogger(slog.New(slog.NewTextHandler(progressTo, nil)))
	}

	// The application's database, with the tables of the outbox beside those of the shop.
	db, err := openDatabase(ctx, opts.databaseURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.drop()) }()

	// The brokers: real publishers, one of which is down at first, and real consumers, which note what they receive.
	brokers, err := startBrokers(ctx, opts.redisURL, logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, brokers.stop()) }()
	outage := &outage{Publisher: brokers.publishers["redis"], length: 2500 * time.Millisecond}
	brokers.publishers["redis"] = outage
	if opts.sabotage != nil {
		opts.sabotage(brokers.publishers)
	}

	// The forwarder. It runs while the shop sells.
	routes, err := newRoutes()
	if err != nil {
		return nil, err
	}
	fwd, err := newForwarder(ctx, db, routes, brokers.publishers, logger)
	if err != nil {
		return nil, err
	}
	stopForwarder := start(fwd)
	defer func() { err = errors.Join(err, stopForwarder()) }()

	// The shop. Each order is one transaction: the order and its events, or neither.
	routing, err := productRouting()
	if err != nil {
		return nil, err
	}
	shop := &shop{db: db, routes: routes, routing: routing}
	progress := startProgress(progressTo, shop, opts.orders, brokers.destinations, outage)
	defer progress.stop()
	if err := shop.sell(ctx, opts.orders); err != nil {
		return nil, err
	}

	// Nothing is left to do once no event is NEW or FAILED. Then the forwarder stops, and the consumers catch up.
	if err := db.waitUntilForwarded(ctx); err != nil {
		return nil, err
	}
	if err := stopForwarder(); err != nil {
		return nil, err
	}
	if err := brokers.waitUntilConsumed(ctx); err != nil {
		return nil, err
	}
	progress.stop()

	return newReport(ctx, db, shop, routes, brokers.destinations)
}
