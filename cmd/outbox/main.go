// Outbox runs an outbox from the command line: it creates the tables, forwards events and shows what is left to do.
//
// It exits with 0 when it is done, with 1 when something failed at run time, and with 2 on wrong use, in which case all
// faults are listed.
package main

import (
	"os"
	"runtime/debug"

	redis "github.com/redis/go-redis/v9/logging"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the heap is small and everything in it short-lived: a tenth less CPU for some ten megabytes
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20) // soft: long payloads make the heap large, and then that is too seldom
	}
	redis.Disable() // go-redis prints to the standard error by itself; its errors are returned as well
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
