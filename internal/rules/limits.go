package rules

// Limits has the fields of middleware.Limits, where they are documented.
type Limits struct {
	Depth, Nodes, PatternLength, WhenLength, PathLength int
	Work                                                int
	Output                                              int
}

// withDefaults returns l with a default in place of each field that is not positive.
func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field    *int
		fallback int
	}{
		{&l.Depth, 16}, {&l.Nodes, 1000}, {&l.PatternLength, 500}, {&l.WhenLength, 2000}, {&l.PathLength, 500},
		{&l.Work, 64 << 20}, {&l.Output, 64 << 20},
	} {
		if *f.field <= 0 {
			*f.field = f.fallback
		}
	}
	return l
}
