// Package redis publishes to Redis Streams.
//
//	redis://user:password@localhost:6379/0?maxlen=1000000
//	rediss://localhost:6380?tls_ca=/etc/ssl/redis-ca.pem
//
// A topic is a stream. Entries have the format of Watermill's own watermill-redisstream, whose subscriber reads them.
// Importing the package registers the schemes redis and rediss. A URL takes what go-redis' ParseURL takes, and:
//
//   - maxlen, the length a stream is trimmed to when a message is added (no limit when absent or 0), and
//     maxlen_approx (true), which lets Redis trim where it is cheap;
//   - timeout (4s), how long one message may take, with all retries inside; dial_timeout is at most three quarters of it;
//   - tls_ca, tls_cert and tls_key, PEM files; rediss only.
//
// No living server is needed to open a publisher: it connects at the first message.
package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

func init() {
	adapters.Register("redis", open)
	adapters.Register("rediss", open)
}

// driverOptions are the query options of go-redis' ParseURL.
var driverOptions = []string{
	"client_name", "conn_max_idle_time", "conn_max_lifetime", "conn_max_lifetime_jitter", "db", "dial_timeout",
	"idle_timeout", "max_active_conns", "max_concurrent_dials", "max_conn_age", "max_idle_conns", "max_retries",
	"max_retry_backoff", "min_idle_conns", "min_retry_backoff", "pipeline_pool_size", "pipeline_read_buffer_size",
	"pipeline_write_buffer_size", "pool_fifo", "pool_size", "pool_timeout", "protocol", "read_timeout", "skip_verify",
	"write_timeout",
}

func open(_ context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error) {
	options := adapters.NewOptions(u)
	config := Config{
		MaxLen:      int64(options.Int("maxlen", 0)),
		ExactMaxLen: !options.Bool("maxlen_approx", true),
		Timeout:     options.Duration("timeout", DefaultTimeout),
	}
	ca := options.TLS()
	if ca != nil && u.Scheme != "rediss" {
		options.Fail("options tls_ca, tls_cert and tls_key: use the scheme rediss")
	}
	client := clientOptions(u, options, config.Timeout, ca)
	if err := options.Err(); err != nil {
		return nil, err
	}
	config.owned, config.retries = true, takeRetries(client)
	return NewPublisher(redis.NewClient(client), config, logger)
}

// clientOptions returns what u says about the connection. Faults are collected in options.
func clientOptions(u *url.URL, options *adapters.Options, timeout time.Duration, ca *tls.Config) *redis.Options {
	if strings.Contains(u.Host, ",") {
		options.Fail("one host only: give NewPublisher a cluster or sentinel client")
		return nil
	}
	base := url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host, Path: u.Path}
	query := make(url.Values)
	for _, name := range driverOptions {
		if !options.Has(name) {
			continue
		}
		// One at a time, because ParseURL stops at the first fault.
		one := base
		one.RawQuery = url.Values{name: {options.String(name, "")}}.Encode()
		if one.Path = ""; name == "skip_verify" && u.Scheme != "rediss" {
			options.Fail("option skip_verify: use the scheme rediss")
		} else if _, err := redis.ParseURL(one.String()); err != nil {
			options.Fail("option %s: %w", name, err)
		} else {
			query.Set(name, options.String(name, ""))
		}
	}
	base.RawQuery = query.Encode()
	client, err := redis.ParseURL(base.String())
	if err != nil {
		// The text of err quotes the path, which holds the end of a password that has an unescaped slash.
		options.Fail("path must be the number of a database")
		return nil
	}
	if client.DB < 0 {
		options.Fail("the number of the database is negative: %d", client.DB)
	}
	// Without it go-redis ends a call by its own timeouts and retries only, whatever the context says.
	client.ContextTimeoutEnabled = true
	// A dial ends before the deadline, which would hide that nothing was sent.
	client.DialerRetries = 1 // each of max_retries dials
	if limit := timeout * 3 / 4; client.DialTimeout <= 0 || client.DialTimeout > limit {
		client.DialTimeout = limit
	}
	if ca != nil && client.TLSConfig != nil {
		client.TLSConfig.RootCAs = ca.RootCAs
		client.TLSConfig.Certificates = ca.Certificates
	}
	dial := redis.NewDialer(client)
	client.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return conn, adapters.Unavailable(err) // a handshake of TLS that takes too long looks like silence
	}
	return client
}

// takeRetries moves the retries from client to the publisher's queue. The driver keeps what it meets to itself until its
// last retry, which a deadline may come before, and repeats a handshake on a connection that the server has closed.
func takeRetries(client *redis.Options) retries {
	r := retries{
		max:   orDefault(client.MaxRetries, 3),
		least: orDefault(client.MinRetryBackoff, 10*time.Millisecond),
		most:  orDefault(client.MaxRetryBackoff, time.Second),
	}
	client.MaxRetries = -1
	return r
}

// orDefault reads an option of the driver, in which 0 is the default and a negative number is 0.
func orDefault[T int | time.Duration](n, otherwise T) T { return max(0, cmp.Or(n, otherwise)) }
