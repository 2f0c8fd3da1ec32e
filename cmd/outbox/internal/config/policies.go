package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

func (c Config) defaultPolicy() middleware.RetryPolicy {
	p := middleware.Policies()["default"]
	p.MaxAttempts, p.InitialInterval = c.MaxAttempts, c.ErrorRetryDelay
	return p
}

// parsePolicies sets the retry policies by name, including the default one.
func (l *Loaded) parsePolicies(faults *Faults) {
	l.RetryPolicies = map[string]middleware.RetryPolicy{"default": l.defaultPolicy()}
	for _, name := range slices.Sorted(maps.Keys(l.Policies)) {
		p, err := parsePolicy(l.Policies[name])
		if err != nil {
			faults.add("policies", l.place("policies."+name), err)
			continue
		}
		l.RetryPolicies[name] = p
	}
}

// parsePolicy reads ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h.
func parsePolicy(text string) (p middleware.RetryPolicy, err error) {
	parts := strings.Split(text, ",")
	if len(parts) != 4 {
		return p, errors.New("want ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h")
	}
	p.Jitter = 0.2
	if p.MaxAttempts, err = strconv.Atoi(parts[0]); err != nil {
		return p, fmt.Errorf("%q is not a number of attempts", parts[0])
	}
	if p.InitialInterval, err = time.ParseDuration(parts[1]); err != nil {
		return p, fmt.Errorf("%q is not a duration, such as 1s", parts[1])
	}
	if p.Multiplier, err = strconv.ParseFloat(parts[2], 64); err != nil {
		return p, fmt.Errorf("%q is not a multiplier, such as 1.5", parts[2])
	}
	if p.MaxInterval, err = time.ParseDuration(parts[3]); err != nil {
		return p, fmt.Errorf("%q is not a duration, such as 1h", parts[3])
	}
	return p, p.Validate()
}
