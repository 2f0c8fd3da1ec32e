package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// Defaults of [Config].
const (
	DefaultTimeout         = 4 * time.Second
	DefaultMaxMessageBytes = 512 << 20 // proto-max-bulk-len of a Redis that is not configured otherwise
)

// Config of a [Publisher]. The zero value works.
type Config struct {
	// MaxLen is the length that a stream is trimmed to when a message is added. 0, the default, means no limit: nothing
	// is trimmed before it was read, and somebody else has to trim.
	MaxLen int64
	// MaxLens are lengths of single streams, by topic, instead of MaxLen.
	MaxLens map[string]int64
	// ExactMaxLen trims to the very number. By default Redis may keep somewhat more, which is much cheaper.
	ExactMaxLen bool
	// Timeout bounds how long Publish waits for one message. Defaults to [DefaultTimeout]. What Redis was already sent
	// may still arrive within the same time again.
	Timeout time.Duration
	// MaxMessageBytes is what a payload or the metadata may measure; larger ones are refused as permanent errors.
	// Set it to the server's proto-max-bulk-len. Defaults to [DefaultMaxMessageBytes].
	MaxMessageBytes int
	// Marshaller defaults to the one of watermill-redisstream, which its subscriber expects.
	Marshaller redisstream.Marshaller

	owned   bool // Close closes the client
	retries retries
}

func (c *Config) validate() error {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if c.Marshaller == nil {
		c.Marshaller = redisstream.DefaultMarshallerUnmarshaller{}
	}
	var faults []error
	if c.Timeout < 0 {
		faults = append(faults, errors.New("Timeout is negative"))
	}
	if c.MaxLen < 0 {
		faults = append(faults, errors.New("MaxLen is negative"))
	}
	if c.MaxMessageBytes < 0 {
		faults = append(faults, errors.New("MaxMessageBytes is negative"))
	}
	for topic, n := range c.MaxLens {
		if n < 0 {
			faults = append(faults, fmt.Errorf("MaxLens: %q is negative", topic))
		}
	}
	return errors.Join(faults...)
}

// Publisher adds messages to Redis streams. It is safe for concurrent use.
//
// Concurrent calls of Publish share pipelines, each with a result of its own, so that many keys in flight cost few
// round trips. A message whose context ends before its pipeline was sent is not sent.
type Publisher struct {
	client redis.UniversalClient
	config Config
	queue  *queue

	calls adapters.Calls
}

// NewPublisher returns a publisher on client, which stays the caller's: Close does not close it.
//
// Set ContextTimeoutEnabled in the client's options, or a pipeline that hangs occupies the publisher for as long as the
// client's own timeouts and retries say; Publish itself returns in time either way. Choose a DialTimeout and retries that
// take less than the Timeout: what the client meets is unknown until it gives up. It logs nothing.
func NewPublisher(client redis.UniversalClient, config Config, _ watermill.LoggerAdapter) (*Publisher, error) {
	if client == nil {
		return nil, errors.New("redis publisher: client is nil")
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("redis publisher: %w", err)
	}
	return &Publisher{client: client, config: config, queue: &queue{client: client, retries: config.retries}}, nil
}

// Publish adds msgs to the stream topic, one after the other, each when Redis has acknowledged the one before. It stops
// at the first error, which names the message. The message's own context and the Timeout bound the wait for each.
//
// An error does not say that nothing was added: a lost answer looks like a lost message. It is permanent, see
// [adapters.IsPermanent], for an empty topic, a message that is too large and a reserved metadata key, and unavailable,
// see [adapters.Unavailable], when the server takes nothing for now; docs/adapters.md has the whole table. It returns
// [adapters.ErrClosed] after Close.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if err := p.calls.Begin(); err != nil {
		return err
	}
	defer p.calls.End()

	for _, msg := range msgs {
		if err := p.add(topic, msg); err != nil {
			return fmt.Errorf("add message %s to stream %s: %w", msg.UUID, topic, err)
		}
	}
	return nil
}

func (p *Publisher) add(topic string, msg *message.Message) error {
	args, size, err := p.marshal(topic, msg)
	if err != nil {
		return adapters.Permanent(err)
	}
	if err := msg.Context().Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(msg.Context(), p.config.Timeout)
	defer cancel()
	err = p.queue.add(ctx, args, size)
	var answer redis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer): // however late it came
		return blame(err)
	case errors.Is(msg.Context().Err(), context.Canceled):
		return msg.Context().Err()
	case adapters.Blame(blame(err)) != adapters.BlameSilence: // a cause that is known, whatever the deadlines say
		return blame(err)
	case ended(msg.Context()) != nil:
		return ended(msg.Context())
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: %w", p.config.Timeout, err)
	}
	return err
}

// ended is ctx.Err, which lags behind the deadline that the driver gave its socket.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func (p *Publisher) marshal(topic string, msg *message.Message) (*redis.XAddArgs, int, error) {
	if topic == "" {
		return nil, 0, errors.New("topic is empty")
	}
	if _, reserved := msg.Metadata[redisstream.UUIDHeaderKey]; reserved {
		return nil, 0, fmt.Errorf("metadata key %s is reserved by Watermill", redisstream.UUIDHeaderKey)
	}
	values, err := p.config.Marshaller.Marshal(topic, msg)
	if err != nil {
		return nil, 0, err
	}
	size := len(topic)
	for name, value := range values {
		n := length(value)
		if n > p.config.MaxMessageBytes {
			return nil, 0, fmt.Errorf("%s has %d bytes, more than %d", name, n, p.config.MaxMessageBytes)
		}
		size += len(name) + n
	}
	maxLen, ok := p.config.MaxLens[topic]
	if !ok {
		maxLen = p.config.MaxLen
	}
	approx := maxLen > 0 && !p.config.ExactMaxLen
	return &redis.XAddArgs{Stream: topic, Values: values, MaxLen: maxLen, Approx: approx}, size, nil
}

func length(value any) int {
	switch v := value.(type) {
	case []byte:
		return len(v)
	case string:
		return len(v)
	}
	return 8 // a number
}

// tooLarge recognises what Redis answers to an argument above its proto-max-bulk-len.
func tooLarge(err error) bool {
	return strings.Contains(err.Error(), "invalid bulk length")
}

// Close waits for the calls of Publish that are under way, none of which takes longer than the Timeout a message, and
// then closes the client if this publisher was opened by URL. It may be called more than once.
func (p *Publisher) Close() error {
	return p.calls.Close(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), p.config.Timeout)
		defer cancel()
		p.queue.wait(ctx) // a pipeline that its callers gave up
		if p.config.owned {
			return p.client.Close()
		}
		return nil
	})
}
