package docs_test

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/router"
)

// docs:reload
// load reads a routes file. A file with a fault leaves the routes that are in use.
func load(live *router.Live, file []byte) error {
	routes, err := router.ParseRoutes(file)
	if err != nil {
		return err
	}
	table, err := router.NewTable(router.Config{Routes: routes, Publishers: []string{"kafka", "redis"}})
	if err != nil {
		return err
	}
	live.Store(table) // forwarder.Config{Routes: live} goes on with it
	return nil
}

// docs:end

// Routes are exchanged while a forwarder runs.
func Example_reload() {
	live := router.NewLive(nil)
	for _, file := range []string{
		`[{"topic":"orders.*","config":{"targets":[{"destination":"kafka://orders"}]}}]`,
		`[{"topic":"orders.*","config":{"targets":[{"destination":"kafak://orders"}]}}]`,
		`[{"topic":"orders.*","config":{"targets":[{"destination":"redis://orders"}]}}]`,
	} {
		if err := load(live, []byte(file)); err != nil {
			fmt.Println(err)
		}
		plan, err := live.Resolve(&router.Event{Topic: "orders.placed"})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(plan.Targets[0].Destination)
	}
	// Output:
	// kafka://orders
	// invalid config: /0/config/targets/0/destination: unknown publisher "kafak", did you mean "kafka"?
	// kafka://orders
	// redis://orders
}
