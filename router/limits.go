package router

import "github.com/bento-outbox/watermill-outbox/middleware"

// Limits bound what one routing config may cost. A zero field means its default.
type Limits struct {
	ConfigSize int // bytes of a config; default 64 KiB
	Targets    int // default 50
	Nodes      int // JSON values of a config; default 5,000
	// Match bounds the conditions and the transform of each target. Its Work and Output are those of one event: the targets share them in equal
	// parts, so that what one of them costs never changes what becomes of another.
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

// shared returns l with the part of one of the targets that look into an event.
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
