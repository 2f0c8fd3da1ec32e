package main

import (
	"context"
	"fmt"
	"time"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := everywhere(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// console: event-1 {"total":42}
	// console: event-2 {"total":5000}
	// redis: event-1 {"total":42}
	// redis: event-2 {"total":5000}
	// kafka: event-1 {"total":42}
	// kafka: event-2 {"total":5000}
	// webhook: event-1 {"total":42}
	// webhook: event-2 {"total":5000}
}
