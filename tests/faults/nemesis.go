package faults

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// nemesis applies the schedule until the time is up. When it returns, all is healed.
func (r *run) nemesis(ctx context.Context) error {
	end := time.Now().Add(r.Duration)
	timeUp, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if len(r.Kinds) == 0 {
		<-timeUp.Done()
		return ctx.Err()
	}
	for step := range Steps(r.Seed, r.Kinds, r.Forwarders, r.Lease) {
		if wait(timeUp, step.Calm) != nil {
			return ctx.Err()
		}
		var group errgroup.Group
		for _, f := range step.Faults {
			group.Go(func() error { return r.apply(ctx, f) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// apply applies one fault, heals it, and notes from when to when it lasted.
func (r *run) apply(ctx context.Context, f Fault) error {
	r.logf("%s", f)
	w := Window{Kind: f.Kind, Detail: f.String(), Start: time.Now()}
	err := r.harm(ctx, f)
	w.End = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = append(r.windows, w)
	return err
}

// harm breaks something and mends it. What was begun is mended also when ctx ends.
func (r *run) harm(ctx context.Context, f Fault) error {
	pause := func() { _ = wait(ctx, f.For) }
	switch f.Kind {
	case KillOne, KillAll:
		return r.restart(f, syscall.SIGKILL, pause)
	case Stop:
		return r.restart(f, syscall.SIGTERM, pause)
	case Pause:
		p := r.members[f.Victims[0]].process
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		pause()
		return p.signal(syscall.SIGCONT)
	case RestartPostgres:
		return r.bounce(ctx, r.servers.Postgres, syscall.SIGQUIT, pause)
	case RestartKafka:
		return r.bounce(ctx, r.servers.Kafka, r.quit(r.servers.Kafka, f), pause)
	case RestartRedis:
		return r.bounce(ctx, r.servers.Redis, r.quit(r.servers.Redis, f), pause)
	}
	relays := r.relays(f)
	for _, relay := range relays {
		switch f.Kind {
		case CutPostgres, CutKafka, CutRedis:
			relay.Cut()
		case SlowPostgres, SlowKafka, SlowRedis:
			relay.Slow(f.Delay)
		case ResetPostgres, ResetKafka, ResetRedis:
			relay.Reset()
		case HangPostgres, HangKafka, HangRedis:
			relay.Hang()
		default:
			return errors.New("unknown fault " + string(f.Kind))
		}
	}
	pause()
	var err error
	for _, relay := range relays {
		err = errors.Join(err, relay.Heal())
	}
	return err
}

func (r *run) quit(s *testserver.Server, f Fault) syscall.Signal {
	if f.Hard {
		return syscall.SIGKILL
	}
	return s.Quit()
}

func (r *run) bounce(ctx context.Context, s *testserver.Server, sig syscall.Signal, pause func()) error {
	s.Stop(sig)
	pause()
	return s.Start(ctx)
}

// restart ends processes of forwarders and starts them again.
func (r *run) restart(f Fault, sig syscall.Signal, pause func()) error {
	var group errgroup.Group
	for _, v := range f.Victims {
		group.Go(func() error {
			if byItself := r.members[v].end(sig, 40*time.Second); !byItself && sig != syscall.SIGKILL {
				return errors.New(r.members[v].name + " does not stop\n" + tail(r.members[v].log, 15))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	pause()
	for _, v := range f.Victims {
		if err := r.startMember(r.members[v]); err != nil {
			return err
		}
	}
	return nil
}

// relays returns the relays that a fault of connections is about.
func (r *run) relays(f Fault) []*Relay {
	if strings.HasPrefix(string(f.Kind), "Kafka") {
		return []*Relay{r.servers.kafkaFront}
	}
	var list []*Relay
	for _, v := range f.Victims {
		if f.Kind.touches() == "postgres" {
			list = append(list, r.members[v].postgres)
		} else {
			list = append(list, r.members[v].redis)
		}
	}
	return list
}
