// Audit runs the fault audit and prints its report in Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bento-outbox/watermill-outbox/tests/faults"
)

func main() {
	faults.Child()
	if err := audit(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func audit() (err error) {
	cfg := faults.Config{Log: os.Stderr}
	flag.DurationVar(&cfg.Duration, "duration", 3*time.Minute, "how long faults are applied")
	flag.Uint64Var(&cfg.Seed, "seed", 0, "repeats a schedule; 0 draws one")
	flag.IntVar(&cfg.Forwarders, "forwarders", 3, "processes")
	flag.IntVar(&cfg.Routers, "routers", 1, "how many of them run on an application's Router; the others run by themselves, as outbox run does")
	flag.DurationVar(&cfg.Lease, "lease", 4*time.Second, "of the forwarders")
	keep := flag.Bool("keep", false, "keep the directory with logs and data")
	flag.IntVar(&cfg.Rate, "rate", 100, "transactions a second")
	only := flag.String("only", "", "apply only faults whose name contains this")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	for _, k := range faults.Kinds {
		if strings.Contains(string(k), *only) {
			cfg.Kinds = append(cfg.Kinds, k)
		}
	}
	if len(cfg.Kinds) == 0 {
		return fmt.Errorf("no fault has %q in its name", *only)
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "outbox-faults-")
	if err != nil {
		return err
	}
	servers, err := faults.StartServers(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		servers.Close()
		if err == nil && !*keep {
			err = os.RemoveAll(dir)
		} else {
			fmt.Fprintln(os.Stderr, "logs are in", dir)
		}
	}()
	fmt.Fprintf(os.Stderr, "seed %d, %s, %s\n", cfg.Seed, cfg.Duration, servers.KafkaName())
	result, err := faults.Run(ctx, servers, cfg)
	if err != nil {
		return err
	}
	fmt.Print(result.Markdown())
	if len(result.Failures()) > 0 {
		return errors.New("promises were broken")
	}
	return nil
}
