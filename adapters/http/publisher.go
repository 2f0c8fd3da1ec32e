package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// maxAnswer is how much of an answer is read, so that the connection can be used again; it is not kept.
const maxAnswer = 64 << 10

// Publisher posts messages to a URL. It is safe for concurrent use.
type Publisher struct {
	config Config
	logger watermill.LoggerAdapter
	client http.Client
	url    *url.URL // without the user
	user   *url.Userinfo

	calls adapters.Calls
}

// NewPublisher returns a publisher. A nil logger logs nothing. The error reports every fault of config.
func NewPublisher(config Config, logger watermill.LoggerAdapter) (*Publisher, error) {
	u, err := config.validate()
	if err != nil {
		return nil, fmt.Errorf("http publisher: %w", err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	p := &Publisher{config: config, logger: logger, client: *config.Client, url: u, user: u.User}
	p.url.User, p.url.Fragment, p.url.RawFragment = nil, "", ""
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p, nil
}

// Publish posts msgs one after the other, each when the server has acknowledged the one before. It stops at the first
// error, which names the message. The message's own context and the Timeout bound each request.
//
// An error does not say that the server got nothing: a lost answer looks like a lost message. It wraps a [StatusError]
// when there was an answer. It is permanent, see [adapters.IsPermanent], for some of these and for a topic that cannot
// be part of a path; docs/adapters.md has the table. It returns [adapters.ErrClosed] after Close.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if err := p.calls.Begin(); err != nil {
		return err
	}
	defer p.calls.End()

	for _, msg := range msgs {
		if err := p.post(topic, msg); err != nil {
			return fmt.Errorf("post message %s of topic %s to %s: %w", msg.UUID, topic, p.url.Host, err)
		}
		p.logger.Trace("Message posted", watermill.LogFields{"topic": topic, "message_uuid": msg.UUID})
	}
	return nil
}

func (p *Publisher) post(topic string, msg *message.Message) error {
	if err := msg.Context().Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(msg.Context(), p.config.Timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) }, // again when one turns out to be closed
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := p.request(ctx, topic, msg)
	if err != nil {
		return adapters.Permanent(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return p.cause(msg.Context(), err, connected.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	return statusError(resp, time.Now())
}

// cause is what ended a request. The client's own error quotes the URL, whose query may hold a secret, and it forgets
// what it was at when the deadline passed: before there was a connection, nothing of the message was sent.
func (p *Publisher) cause(ctx context.Context, err error, connected bool) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	switch verdict := adapters.Blame(err); {
	case verdict == adapters.BlameUnknown: // what comes back is no answer of HTTP, such as TLS and HTTP mixed up
		return adapters.Suspect(adapters.Unavailable(err))
	case verdict != adapters.BlameSilence: // names what it could not reach
		return err
	case !connected:
		return adapters.Unavailable(fmt.Errorf("no connection in time: %w", err))
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: %w", p.config.Timeout, context.DeadlineExceeded)
	}
	return err
}

func (p *Publisher) request(ctx context.Context, topic string, msg *message.Message) (*http.Request, error) {
	target := *p.url
	if !p.config.FixedURL {
		if topic == "" || topic == "." || topic == ".." {
			return nil, fmt.Errorf("topic %q cannot be part of a path", topic)
		}
		target.RawPath = strings.TrimRight(p.url.EscapedPath(), "/") + "/" + url.PathEscape(topic)
		target.Path = strings.TrimRight(p.url.Path, "/") + "/" + topic
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: &target, Host: target.Host, Header: make(http.Header, len(msg.Metadata)+6),
	}).WithContext(ctx)
	req.ContentLength = int64(len(msg.Payload))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(msg.Payload)), nil }
	req.Body, _ = req.GetBody()
	if len(msg.Payload) == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", p.contentType(msg.Payload))
	req.Header.Set("User-Agent", "watermill-outbox")
	if p.user != nil {
		password, _ := p.user.Password()
		req.SetBasicAuth(p.user.Username(), password)
	}
	if err := setHeaders(req.Header, topic, msg); err != nil {
		return nil, fmt.Errorf("write metadata as headers: %w", err)
	}
	for name, values := range p.config.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	return req, nil
}

func (p *Publisher) contentType(payload []byte) string {
	switch {
	case p.config.ContentType != "":
		return p.config.ContentType
	case json.Valid(payload):
		return "application/json"
	}
	return "application/octet-stream"
}

// Close waits for the calls of Publish that are under way, none of which takes longer than the Timeout a message. It may
// be called more than once.
func (p *Publisher) Close() error {
	return p.calls.Close(func() error {
		if p.config.owned {
			p.client.CloseIdleConnections()
		}
		return nil
	})
}
