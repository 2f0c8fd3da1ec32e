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
	// vip: {"id":2,"price":2000.50}
	// statistics: {"customer":"ann","n":1}
	// statistics: {"customer":"ann","n":3}
	// reminders: {"id":3}
	// payments: {"id":4}, attempt 1
	// payments: {"id":4}, attempt 2
	// payments: {"id":4}, attempt 3
	// payments: {"id":5}, attempt 1
	// payments: {"id":5}, attempt 2
	// payments: {"id":5}, attempt 3
	// poison: {"id":5}, because: bank does not answer
	// payments: {"id":6}, attempt 1
	// poison: {"id":6}, because: card has expired
}
