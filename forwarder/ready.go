package forwarder

import (
	"context"
	"errors"
	"slices"

	"github.com/ThreeDotsLabs/watermill"
)

// Ready returns nil when the forwarder can deliver events, as [Subscriber.Ready] says.
func (f *Forwarder) Ready(ctx context.Context) error { return f.subscriber.Ready(ctx) }

// Ready returns nil when every subscription holds its lease, can renew it, and can read and settle. Else the error says what is lacking, without
// names of hosts and users, so that it may be shown to whoever asks; the log has the cause. It runs the statements that read and settle, with nothing
// to read and nothing to settle, so that it also tells what the next event would meet.
//
// It is meant for a readiness check, such as monitor.Ready. A subscriber that is not ready goes on trying: it need not be restarted.
func (s *Subscriber) Ready(ctx context.Context) error {
	s.mu.Lock()
	readers := slices.DeleteFunc(slices.Clone(s.readers), (*reader).ended)
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return errors.New("is closed")
	case len(readers) == 0:
		return errors.New("is no member of its group yet")
	}
	for _, r := range readers {
		if err := r.lacks(); err != nil {
			return err
		}
	}
	err := s.store.Rehearse(ctx)
	s.rehearsed(err)
	if err != nil {
		return errors.New("cannot read or settle events in the database")
	}
	return nil
}

// rehearsed logs when rehearsals begin to fail, and when they succeed again.
func (s *Subscriber) rehearsed(err error) {
	s.mu.Lock()
	before := s.unready
	s.unready = err != nil
	s.mu.Unlock()
	switch {
	case err != nil && !before:
		s.logger.Error("Not ready: the database would refuse to have events read or settled", err, nil)
	case err == nil && before:
		s.logger.Info("Ready again: the database lets events be read and settled", watermill.LogFields{})
	}
}

// lacks says what the reader has found out by itself that it cannot do now.
func (r *reader) lacks() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.leaseFails:
		return errors.New("cannot renew its lease")
	case !r.kept:
		return errors.New("has not taken its share of the slots yet")
	case r.lease.left(r.now()) <= r.cfg.PublishTimeout:
		return errors.New("has no lease that is long enough to publish under")
	case r.broken:
		return errors.New("cannot write outcomes")
	case r.readFails:
		return errors.New("cannot read events")
	}
	return nil
}
