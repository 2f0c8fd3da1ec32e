package main

import (
	"context"
	"sync"
)

// background runs work in a goroutine. The function it returns cancels the context of work and waits until it has returned.
func background(ctx context.Context, work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
