package forwarder

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// membership is one member of a group: an engine, or while the database cannot be reached, the wait for it.
type membership struct {
	stop    func()
	stopped chan struct{}
	done    chan struct{} // closed when the slots are given back
	err     error         // valid when done

	// The group's mutex guards these.
	engine *engine.Engine // nil while the database is waited for
	waits  error          // why it is
}

func (m *membership) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

type memberships []*membership

// end stops the members and waits until they have ended.
func (list memberships) end() error {
	for _, m := range list {
		m.stop()
	}
	var errs []error
	for _, m := range list {
		<-m.done
		errs = append(errs, m.err)
	}
	return errors.Join(errs...)
}

// join adds a member, until ctx ends or it is stopped. A database that cannot be reached is waited for in the background; every other error
// is returned at once. AfterEnd is called when nothing is delivered any more.
func (g *group) join(ctx context.Context, topic string, d engine.Deliverer, afterEnd func()) (*membership, error) {
	m := &membership{stopped: make(chan struct{}), done: make(chan struct{})}
	parent := ctx
	ctx, cancel := context.WithCancel(ctx) // ends an attempt to reach the database, too
	m.stop = sync.OnceFunc(func() { close(m.stopped); cancel() })
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		cancel()
		return nil, ErrClosed
	}
	// Those that ended and left nothing to report are forgotten.
	g.members = append(slices.DeleteFunc(g.members, func(m *membership) bool { return m.ended() && m.err == nil }), m)
	g.mu.Unlock()
	e, err := g.engine(ctx, topic, d)
	if err != nil && (ctx.Err() != nil || !unreachable(err)) {
		g.mu.Lock()
		g.members = slices.DeleteFunc(g.members, func(other *membership) bool { return other == m })
		g.mu.Unlock()
		defer cancel()
		close(m.done)
		switch {
		case parent.Err() != nil: // what it asks for
			afterEnd()
			return m, nil
		case ctx.Err() != nil:
			return nil, ErrClosed
		}
		return nil, err
	}
	g.started(m, e)
	go func() {
		defer cancel()
		if e == nil {
			e, m.err = g.await(ctx, m, topic, d, err)
		}
		if e == nil {
			close(m.done)
		} else {
			m.err = g.run(m, e)
			close(m.done)
			<-e.Quiet()
		}
		afterEnd()
	}()
	return m, nil
}

func (g *group) started(m *membership, e *engine.Engine) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.engine = e
}

// unreached notes why the database is waited for.
func (g *group) unreached(m *membership, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.waits = err
}

// waits returns why the database of m is waited for, nil when it was reached.
func (g *group) waits(m *membership) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.engine != nil {
		return nil
	}
	return m.waits
}

// await waits until the database can be reached, and returns the engine that runs then. It returns nil when ctx ended or the member was stopped first. After an
// outage a server may refuse for other reasons than before: only tables and groups that do not fit end the wait.
func (g *group) await(ctx context.Context, m *membership, topic string, d engine.Deliverer, err error) (*engine.Engine, error) {
	for failures := 0; ; failures++ {
		g.unreached(m, err)
		if failures == 0 || failures >= 8 && engine.Notable(failures) { // after half a minute again, and ever more rarely
			g.logger.Error("Cannot reach the database yet; waiting for it", err, nil)
		}
		t := time.NewTimer(engine.Backoff(failures))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		case <-m.stopped:
			t.Stop()
			return nil, nil
		}
		var e *engine.Engine
		e, err = g.engine(ctx, topic, d)
		switch {
		case err == nil:
			g.started(m, e)
			g.logger.Info("The database can be reached", nil)
			return e, nil
		case ctx.Err() != nil:
			return nil, nil
		case errors.Is(err, schema.ErrSchema), errors.Is(err, ErrGroupConflict):
			g.logger.Error("The database can be reached, and cannot be used", err, nil)
			return nil, err
		}
	}
}

// run waits until e has ended, and stops it when m is.
func (g *group) run(m *membership, e *engine.Engine) error {
	var listening sync.WaitGroup
	if g.cfg.Listen {
		ctx, cancel := context.WithCancel(context.Background())
		listening.Go(func() { g.listen(ctx, e.Wake) })
		defer listening.Wait()
		defer cancel()
	}
	select {
	case <-m.stopped:
		e.Stop()
		<-e.Done()
	case <-e.Done():
	}
	return e.Err()
}

// unreachable reports whether err says that a database cannot be reached, or takes nobody, which may change: the network failed, the server starts,
// stops or has no connection left.
func unreachable(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		class := state.SQLState()
		return strings.HasPrefix(class, "08") || strings.HasPrefix(class, "53") || strings.HasPrefix(class, "57P")
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
