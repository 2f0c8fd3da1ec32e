package admin

import (
	"context"
	"time"
)

// next returns when the next clean-up after now is.
func (c *Cleaner) next(now time.Time) time.Time {
	if c.cfg.Every > 0 {
		return now.Add(c.cfg.Every)
	}
	local := now.In(c.cfg.Location)
	for day := 0; ; day++ {
		at := time.Date(local.Year(), local.Month(), local.Day()+day, int(c.at/time.Hour), int(c.at%time.Hour/time.Minute), 0, 0, c.cfg.Location)
		if at.After(now) {
			return at
		}
	}
}

// sleepUntil waits for a time of the wall clock, which may be set meanwhile, and calls meanwhile every minute. It returns false when ctx ended.
func sleepUntil(ctx context.Context, at time.Time, meanwhile func(context.Context)) bool {
	for {
		meanwhile(ctx)
		left := at.Round(0).Sub(time.Now().Round(0))
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
