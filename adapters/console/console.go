// Package console prints messages, one line of JSON each, for development and demonstrations.
//
//	console://stdout
//	console://stderr
//
// A line has the topic, the UUID, the metadata and the payload: under "payload" where it is JSON, without its white
// space, else under "payload_base64". The option omit_payload=true leaves it out. Importing the package registers the scheme console.
package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

func init() { adapters.Register("console", open) }

func open(_ context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error) {
	options := adapters.NewOptions(u)
	if u.Path != "" && u.Path != "/" {
		options.Fail("a path is not used")
	}
	config := Config{OmitPayload: options.Bool("omit_payload", false)}
	w := os.Stdout
	switch u.Host {
	case "", "stdout":
	case "stderr":
		w = os.Stderr
	default:
		options.Fail("host must be stdout or stderr")
	}
	if err := options.Err(); err != nil {
		return nil, err
	}
	return NewPublisher(w, config, logger), nil
}

// Config of a [Publisher]. The zero value works.
type Config struct {
	// OmitPayload leaves payloads out, where they must not be shown.
	OmitPayload bool
}

// Publisher writes messages to a writer. It is safe for concurrent use: lines are never mixed.
type Publisher struct {
	config Config
	logger watermill.LoggerAdapter

	mu     sync.Mutex
	w      io.Writer
	closed bool
}

// NewPublisher returns a publisher that writes to w. Close does not close w. A nil logger logs nothing.
func NewPublisher(w io.Writer, config Config, logger watermill.LoggerAdapter) *Publisher {
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return &Publisher{config: config, logger: logger, w: w}
}

type line struct {
	Topic         string           `json:"topic"`
	UUID          string           `json:"uuid"`
	Metadata      message.Metadata `json:"metadata"`
	Payload       json.RawMessage  `json:"payload,omitempty"`
	PayloadBase64 *string          `json:"payload_base64,omitempty"`
}

// Publish writes one line per message, each with one Write. It stops at the first error and at a message whose context
// has ended. What the writer refuses is [adapters.Unavailable]: it holds deliveries and uses no attempts. It returns [adapters.ErrClosed] after Close.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		text, err := p.format(topic, msg)
		if err != nil {
			return adapters.Permanent(fmt.Errorf("format message %s: %w", msg.UUID, err))
		}
		if err := p.write(msg.Context(), text); err != nil {
			return fmt.Errorf("print message %s: %w", msg.UUID, err)
		}
		p.logger.Trace("Message printed", watermill.LogFields{"topic": topic, "message_uuid": msg.UUID})
	}
	if len(msgs) == 0 {
		return p.write(context.Background(), nil)
	}
	return nil
}

func (p *Publisher) format(topic string, msg *message.Message) ([]byte, error) {
	l := line{Topic: topic, UUID: msg.UUID, Metadata: msg.Metadata}
	if l.Metadata == nil {
		l.Metadata = message.Metadata{}
	}
	switch {
	case p.config.OmitPayload:
	case utf8.Valid(msg.Payload) && json.Valid(msg.Payload):
		l.Payload = json.RawMessage(msg.Payload)
	default:
		text := base64.StdEncoding.EncodeToString(msg.Payload)
		l.PayloadBase64 = &text
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(l)
	return buf.Bytes(), err
}

func (p *Publisher) write(ctx context.Context, text []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return adapters.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(text) == 0 {
		return nil
	}
	n, err := p.w.Write(text)
	if err == nil && n < len(text) {
		err = io.ErrShortWrite
	}
	return adapters.Unavailable(err) // the disk is full, or nobody reads
}

// Close makes further calls of Publish fail. It may be called more than once and does not close the writer.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
