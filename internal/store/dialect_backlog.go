package store

// backlogQueries are the statements that count the backlog, and who works on it.
type backlogQueries struct {
	plan   string // first statement of a transaction that counts; empty where none is needed, and no transaction
	heads  string // -> last seq, first pending seq, JSON of the first pending seq of each slot, age of the oldest pending in seconds
	states string // limit, limit of deliveries, heads -> pending, waiting, held, dead, skipped, deliveries; spans of deliveries, held, dead
	names  string // limit, limit of deliveries, heads, limits per slot of pending, waiting, held -> state, destination, tenant, topic, count, age of the oldest
	fleet  string // -> id, group, started, alive, number of slots; with an empty id the slots that nobody owns
}
