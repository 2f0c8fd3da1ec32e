package main

import (
	"context"
	"fmt"
)

func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// mail:  orders.placed {"id":"order-1","total":42}
	// mail:  orders.paid {"id":"order-1","total":42}
	// error: there is an order-1 already
	// mail:  orders.placed {"id":"order-2","total":5000}
	// call:  orders.placed {"id":"order-2","total":5000}
	// mail:  orders.paid {"id":"order-2","total":5000}
}
