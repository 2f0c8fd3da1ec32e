package store

// glanceQueries look at events by number: limit, inline bytes, tenants, topics behind the first parameter -> seq, slot, status, event.
type glanceQueries struct {
	after string // seq
	these string // seqs
	last  string // number of events
}
