package middleware

// Limits bound what conditions, samples and transforms cost, so that their authors need not be trusted. A zero field selects its default.
type Limits struct {
	Depth         int // nesting of operators and values; default 16
	Nodes         int // JSON values of a condition or a transform; default 1,000
	PatternLength int // bytes of a $regex; default 500. A compiled one may have at most 2,000 instructions.
	WhenLength    int // bytes of an expr expression; default 2,000
	PathLength    int // bytes of a path; default 500

	// Work is the cost of one part on one event, in bytes that are read and in steps that take as long. The same event always costs the
	// same. Default 64 Mi, about 100 ms.
	Work int
	// Output is the length of a transformed payload, in bytes. Default 64 MiB.
	Output int
}
