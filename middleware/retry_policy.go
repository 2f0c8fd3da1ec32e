package middleware

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// RetryPolicy is how often and when a failed delivery is retried.
type RetryPolicy struct {
	// MaxAttempts is the number of attempts, including the first. Must be at least 1; 1 means no retry.
	MaxAttempts int
	// InitialInterval is the wait after the first attempt. Must not be negative.
	InitialInterval time.Duration
	// Multiplier multiplies the wait after each further attempt. Must be at least 1.
	Multiplier float64
	// MaxInterval caps the wait. 0 means no cap. Must not be negative.
	MaxInterval time.Duration
	// Jitter spreads each wait evenly by up to this share above and below it, 0 to 1.
	Jitter float64
}

// Policies returns the built-in retry policies by name, in a new map that the caller may change.
func Policies() map[string]RetryPolicy {
	return map[string]RetryPolicy{
		"default":     {MaxAttempts: 5, InitialInterval: time.Second, Multiplier: 2, MaxInterval: 5 * time.Minute, Jitter: 0.2},
		"exponential": {MaxAttempts: 10, InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Hour, Jitter: 0.2},
		"aggressive":  {MaxAttempts: 20, InitialInterval: 100 * time.Millisecond, Multiplier: 1.5, MaxInterval: 30 * time.Second, Jitter: 0.2},
		"none":        {MaxAttempts: 1, Multiplier: 1},
	}
}

// Validate returns an error about the first field that is out of range.
func (p RetryPolicy) Validate() error {
	switch {
	case p.MaxAttempts < 1:
		return fmt.Errorf("max attempts is %d, must be at least 1", p.MaxAttempts)
	case p.InitialInterval < 0:
		return fmt.Errorf("initial interval is %s, must not be negative", p.InitialInterval)
	case p.MaxInterval < 0:
		return fmt.Errorf("max interval is %s, must not be negative", p.MaxInterval)
	case math.IsNaN(p.Multiplier) || p.Multiplier < 1:
		return fmt.Errorf("multiplier is %v, must be at least 1", p.Multiplier)
	case math.IsNaN(p.Jitter) || p.Jitter < 0 || p.Jitter > 1:
		return fmt.Errorf("jitter is %v, must be between 0 and 1", p.Jitter)
	}
	return nil
}

// Next returns the wait after the given number of failed attempts, or false when the policy gives up. It depends on nothing else, so that a retry
// that is counted in a database continues where another process stopped.
func (p RetryPolicy) Next(attempts int) (time.Duration, bool) {
	if attempts >= p.MaxAttempts {
		return 0, false
	}
	wait := float64(p.InitialInterval) * math.Pow(p.Multiplier, float64(max(attempts-1, 0)))
	limit := float64(math.MaxInt64 / 4)
	if p.MaxInterval > 0 {
		limit = float64(p.MaxInterval)
	}
	wait = min(wait, limit)
	wait *= 1 + p.Jitter*(2*rand.Float64()-1)
	return time.Duration(wait), true
}
