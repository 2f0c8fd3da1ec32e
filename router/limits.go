package router

import "github.com/bento-outbox/watermill-outbox/middleware"

// Limits bound what one routing config may cost. A zero field means its default.
type Limits struct {
	ConfigSize int // bytes of a config; default 64 KiB
	Targets    int // default 50
	Nodes      int // JSON values of a config; default 5,000
	// Match bounds the conditions and the transform of each target.
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
	}{{&l.ConfigSize, 64 << 10}, {&l.Targets, 50}, {&l.Nodes, 5000}} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return l
}
