// Outbox runs an outbox from the command line: it creates the tables, forwards events and shows the backlog.
//
// It exits with 0 on success, with 1 after a failure at run time, and with 2 on wrong use, after listing all faults.
package main

import (
	"os"
	"runtime/debug"

	redis "github.com/redis/go-redis/v9/logging"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the heap is small and short-lived: this saves 10 % of CPU for about 10 MB
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20) // soft: with long payloads the heap grows, and collecting at 400 % is too rare
	}
	redis.Disable() // go-redis prints errors to standard error, although it returns them too
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
