package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis" // redis://
)

var redisStreams = []string{"vip.notifications", "reviews"}

func (b *brokers) startRedis(ctx context.Context, url string, logger watermill.LoggerAdapter) error {
	prefix := ""
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		b.atStop(func() error { server.Close(); return nil })
		url = "redis://" + server.Addr()
	} else {
		prefix = "demo-" + watermill.NewShortUUID() + "-" // somebody else's streams may be there
	}
	publisher, err := adapters.Open(ctx, url, logger)
	if err != nil {
		return err
	}
	b.publishers["redis"] = prefixed{publisher, prefix}
	b.atStop(publisher.Close)

	options, err := redis.ParseURL(url)
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	client := redis.NewClient(options)
	if err := client.Ping(ctx).Err(); err != nil {
		return errors.Join(err, client.Close())
	}
	b.atStop(func() error {
		var errs []error
		for _, stream := range redisStreams {
			errs = append(errs, client.Del(context.WithoutCancel(ctx), prefix+stream).Err())
		}
		return errors.Join(append(errs, client.Close())...)
	})
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        redis.NewClient(options), // a client of its own, for Close closes it
		ConsumerGroup: "demo", DisableIndefiniteInitialBlock: true,
	}, logger)
	if err != nil {
		return err
	}
	b.atStop(subscriber.Close)
	length := func(ctx context.Context, stream string) (int64, error) { return client.XLen(ctx, stream).Result() }
	for _, stream := range redisStreams {
		d := &destination{name: "redis://" + stream, broker: "redis", topic: prefix + stream, length: length}
		if err := d.consume(ctx, subscriber); err != nil {
			return err
		}
		b.destinations = append(b.destinations, d)
	}
	return nil
}

// prefixed is a publisher whose topics begin with a prefix that routes need not know.
type prefixed struct {
	message.Publisher
	prefix string
}

func (p prefixed) Publish(topic string, msgs ...*message.Message) error {
	return p.Publisher.Publish(p.prefix+topic, msgs...)
}
