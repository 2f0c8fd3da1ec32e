package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka" // kafka://
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis" // redis://
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

// patient is the retry policy of all targets. It outlasts every outage, so that no event may die.
const patient = "patient"

func policies() map[string]middleware.RetryPolicy {
	return map[string]middleware.RetryPolicy{
		patient: {MaxAttempts: 1_000_000, InitialInterval: 100 * time.Millisecond, Multiplier: 1.5, MaxInterval: 2 * time.Second, Jitter: 0.2},
	}
}

// forward is a forwarder, until SIGTERM.
func forward(a assignment) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	logger := watermill.NewStdLogger(false, false)
	routes, err := router.NewTable(router.Config{Policies: policies(), Publishers: []string{"kafka", "redis"}})
	if err != nil {
		return err
	}
	refusals, err := os.OpenFile(a.Journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer refusals.Close()
	// What an adapter waits for must fit into the time that a publish has.
	timeout := a.Lease / 4
	destinations := map[string]message.Publisher{}
	for name, url := range map[string]string{"kafka": a.Kafka, "redis": a.Redis} {
		pub, err := adapters.Open(ctx, fmt.Sprintf("%s?timeout=%s", url, timeout), logger)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pub.Close()) }()
		destinations[name] = a.Broken.publisher(&noting{pub, name, a.Prefix, refusals})
	}
	db, err := a.Broken.open(a.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	config := forwarder.Config{Routes: routes, Subscriber: forwarder.SubscriberConfig{
		Lease: a.Lease, PublishTimeout: a.Lease / 3, QueryTimeout: a.Lease / 2,
	}}
	a.Broken.configure(&config.Subscriber)
	f, err := forwarder.New(db, destinations, config, logger)
	if err != nil {
		return err
	}
	run := f.Run
	if a.Router {
		run = func(ctx context.Context) error { return runOnRouter(ctx, f, logger) }
	}
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		// Others take over when the lease ends: no harm when the database is away just now.
		fmt.Fprintln(os.Stderr, "ended with:", err)
	}
	return nil
}

// runOnRouter runs f as an application does that has a Router.
func runOnRouter(ctx context.Context, f *forwarder.Forwarder, logger watermill.LoggerAdapter) error {
	r, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return err
	}
	f.AddTo(r)
	if err := r.Run(ctx); err != nil {
		return err
	}
	return f.Close()
}

// noting notes what a publisher refuses, or does not confirm in time.
type noting struct {
	message.Publisher
	name, prefix string
	file         *os.File
}

func (n *noting) Publish(topic string, msgs ...*message.Message) error {
	err := n.Publisher.Publish(topic, msgs...)
	if err == nil {
		return nil
	}
	for _, m := range msgs {
		line, jsonErr := json.Marshal(Refusal{
			ID: m.UUID, Destination: n.name + "://" + strings.TrimPrefix(topic, n.prefix), At: time.Now(), Error: err.Error(),
		})
		_, fileErr := n.file.Write(append(line, '\n')) // one write, which O_APPEND makes atomic
		err = errors.Join(err, jsonErr, fileErr)
	}
	return err
}
