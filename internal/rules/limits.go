package rules

// Limits bound what a condition or a transform may cost, so that authors need not be trusted. A zero field means its default.
type Limits struct {
	Depth         int // how deep operators and values may nest; default 16
	Nodes         int // how many JSON values a condition or a transform may have; default 1,000
	PatternLength int // bytes of a $regex; default 500. A compiled one may also have no more than 2,000 instructions.
	WhenLength    int // bytes of an expr expression; default 2,000
	PathLength    int // bytes of a path; default 500

	// Work is what conditions, a transform or a sampling key may cost on one event, in bytes that are walked over and steps that take as long.
	// The same event always costs the same. Default 64 Mi, about 100 ms.
	Work int
	// Output is how long a transform may make a payload, in bytes. Default 64 MiB.
	Output int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value    *int
		fallback int
	}{{&l.Depth, 16}, {&l.Nodes, 1000}, {&l.PatternLength, 500}, {&l.WhenLength, 2000}, {&l.PathLength, 500}, {&l.Work, 64 << 20}, {&l.Output, 64 << 20}} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return l
}
