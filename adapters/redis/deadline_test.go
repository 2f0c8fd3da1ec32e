package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/redis"
	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// listen has serve handle every connection to the address it returns.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				serve(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// A deadline that ends retries must not hide why they were needed: silence would count as an attempt of the message.
func TestDeadlineDoesNotHideTheCause(t *testing.T) {
	t.Parallel()
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for name, test := range map[string]struct {
		url   string
		serve func(net.Conn)
	}{
		"hangs up, retries last longer than the timeout": {"redis://%s?timeout=500ms&max_retries=100000&max_retry_backoff=5ms", func(net.Conn) {}},
		"hangs up, the back-off does":                    {"redis://%s?timeout=500ms&min_retry_backoff=1m&max_retry_backoff=1m", func(net.Conn) {}},
		"no TLS handshake":                               {"rediss://%s?timeout=500ms", silent},
		"no TLS handshake, long dial_timeout":            {"rediss://%s?timeout=500ms&dial_timeout=1m", silent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pub := opener(fmt.Sprintf(test.url, listen(t, test.serve)))(t)
			t.Cleanup(func() { assert.NoError(t, pub.Close()) })
			var wg sync.WaitGroup
			for i := range 8 { // some share the first pipeline, some wait for the next
				wg.Go(func() {
					err := pub.Publish("t", message.NewMessage(fmt.Sprint(i), nil))
					assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
				})
			}
			wg.Wait()
		})
	}
}

// The same with a client whose retries are its own: what a pipeline met is told to those that waited behind it.
func TestDeadlineInTheQueueDoesNotHideTheCause(t *testing.T) {
	t.Parallel()
	hook := &script{entered: make(chan struct{}), results: make(chan error)}
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(hook)
	pub, err := redis.NewPublisher(client, redis.Config{Timeout: time.Minute}, nil)
	require.NoError(t, err)
	publish := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		msg := message.NewMessage("1", nil)
		msg.SetContext(ctx)
		go func() { done <- pub.Publish("t", msg) }()
		return done
	}

	first := publish(t.Context())
	<-hook.entered
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	second := publish(ctx)
	<-ctx.Done()
	require.Equal(t, adapters.BlameSilence, adapters.Blame(<-second), "nothing is known yet")

	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	third := publish(ctx)
	await.That(t, func() bool { return pub.Waiting() == 2 }, "the third waits, behind the second that gave up")
	hook.results <- io.EOF
	require.Equal(t, adapters.BlamePublisher, adapters.Blame(<-first))
	<-hook.entered // the pipeline of the third hangs
	err = <-third
	require.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
	require.ErrorIs(t, err, io.EOF)

	fourth := publish(t.Context())
	hook.results <- nil
	<-hook.entered
	hook.results <- nil
	require.NoError(t, <-fourth)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	fifth := publish(ctx)
	<-hook.entered
	err = <-fifth
	require.Equal(t, adapters.BlameSilence, adapters.Blame(err), "the failure is over: %v", err)
	require.False(t, errors.Is(err, io.EOF))
	hook.results <- nil
	require.NoError(t, pub.Close())
}

// script tells of each pipeline that begins, and ends it as it is told.
type script struct {
	entered chan struct{}
	results chan error
}

func (s *script) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (s *script) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (s *script) ProcessPipelineHook(goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(_ context.Context, cmds []goredis.Cmder) error {
		s.entered <- struct{}{}
		err := <-s.results
		for _, cmd := range cmds {
			if cmd.SetErr(err); err == nil {
				cmd.(*goredis.StringCmd).SetVal("1-1")
			}
		}
		return err
	}
}
