package monitor

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// Watch takes a snapshot per interval until ctx ends, which keeps the history complete. It logs each alert when it is raised and when it is over.
func (m *Monitor) Watch(ctx context.Context) {
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	raised := map[identity]Finding{}
	down := false
	for {
		s, err := m.Recent(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !down {
				m.log.Error("Cannot look at the outbox", err, nil)
			}
			down = true
		default:
			if down {
				m.log.Info("Looking at the outbox again", nil)
			}
			down = false
			raised = m.logAlerts(raised, s.Alerts())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logAlerts logs what differs from the alerts before, and returns those of now.
func (m *Monitor) logAlerts(before map[identity]Finding, list []Finding) map[identity]Finding {
	now := map[identity]Finding{}
	for _, a := range list {
		now[a.identity()] = a
		if before[a.identity()].Level != a.Level {
			fields := watermill.LogFields{"alert": a.Rule, "severity": a.Level, "action": a.Action}
			if a.Level == Critical {
				m.log.Error("Alert", errors.New(a.Message), fields)
				continue
			}
			m.log.Info("Alert: "+a.Message, fields)
		}
	}
	for key, a := range before {
		if _, still := now[key]; !still {
			m.log.Info("Alert is over: "+a.Message, watermill.LogFields{"alert": a.Rule, "severity": a.Level})
		}
	}
	return now
}
