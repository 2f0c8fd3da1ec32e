//go:build !linux

package router_test

import "time"

// spent returns the time that f takes.
func spent(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}
