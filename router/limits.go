package router

import "github.com/bento-outbox/watermill-outbox/middleware"

// Limits bound the cost of one routing config. A zero field selects its default.
type Limits struct {
	ConfigSize int // bytes of a config; default 64 KiB
	Targets    int // default 50
	Nodes      int // JSON values of a config; default 5,000
	// Match bounds the conditions, sampling key and transform of each target. Work and Output are for one event: its targets share them in
	// equal parts, so that the cost of one target never affects another.
	Match middleware.Limits
}

const (
	maxNodeDepth   = 64  // of a config, whatever the limits of its parts
	maxDestination = 500 // bytes
	maxTargetName  = 200 // bytes
	maxDelay       = 366 // days
	maxFileSize    = 16 << 20
	maxFileNodes   = 200_000
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value    *int
		fallback int
	}{{&l.ConfigSize, 64 << 10}, {&l.Targets, 50}, {&l.Nodes, 5000}, {&l.Match.Work, 64 << 20}, {&l.Match.Output, 64 << 20}} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return l
}

// shared returns l with the share of one of targets.
func (l Limits) shared(targets []TargetConfig) Limits {
	looks, transforms := 0, 0
	for _, t := range targets {
		if len(t.Conditions) > 0 || t.When != "" {
			looks++
		}
		if t.SamplingKey != "" {
			looks++
		}
		if t.Transform != nil {
			looks++
			transforms++
		}
	}
	l.Match.Work /= max(looks, 1)
	l.Match.Output /= max(transforms, 1)
	return l
}
