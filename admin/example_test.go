package admin_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// An operator pauses a publisher before its maintenance and lists what died before.
func ExampleClient() {
	ctx := context.Background()
	db, remove := database(ctx)
	defer remove()

	client, err := admin.NewClient(ctx, db, schema.Config{})
	if err != nil {
		panic(err)
	}
	if err := client.Pause(ctx, admin.Destination, "kafka://", "upgrade of the brokers"); err != nil {
		panic(err)
	}
	pauses, err := client.Pauses(ctx)
	if err != nil {
		panic(err)
	}
	for _, p := range pauses {
		fmt.Println(p.Kind, p.Name, p.Reason)
	}
	letters, err := client.DeadLetters(ctx, admin.DeadFilter{Destination: "kafka://orders"}, nil, 100)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(letters), "dead letters")
	if err := client.Resume(ctx, admin.Destination, "kafka://"); err != nil {
		panic(err)
	}
	// Output:
	// destination kafka:// upgrade of the brokers
	// 0 dead letters
}

// A program removes finished events every hour, and keeps them for a day.
func ExampleCleaner() {
	ctx := context.Background()
	db, remove := database(ctx)
	defer remove()

	cleaner, err := admin.NewCleaner(ctx, db, admin.CleanerConfig{Retention: 24 * 3600e9, Every: 3600e9}, nil)
	if err != nil {
		panic(err)
	}
	cleaned, err := cleaner.DryRun(ctx) // Run does it until ctx ends, Once does it now
	if err != nil {
		panic(err)
	}
	fmt.Println(cleaned.Removed.Total(), "events")
	// Output: 0 events
}

// database returns a database with one event in its outbox.
func database(ctx context.Context) (db *sql.DB, remove func()) {
	db, remove = testdb.Example(ctx)
	publisher, err := outbox.NewPublisher(db, outbox.Config{}, nil)
	if err != nil {
		panic(err)
	}
	if err := publisher.Publish("orders", message.NewMessage("1", []byte(`{}`))); err != nil {
		panic(err)
	}
	return db, remove
}
