package store

// cleanQueries are the statements that clean up.
type cleanQueries struct {
	last  string // -> owner, started, finished, sent, skipped, dead, now; NULL and 0 when there was none
	begin string // owner, seconds -> now, floor; no row when there is another
	renew string // owner, seconds, floor
	end   string // owner, floor, done, sent, skipped, dead

	plan       string                    // first statement of a batch, empty where none is needed
	look       func(table string) string // after, limit, before, tenants -> seq, seconds since 1970, old enough, finished and to be removed
	remove     func(table string) string // as look, and deletes those that are to be removed, of a table that is not partitioned; nil where a statement cannot do both
	rest       string                    // kept seqs, first, last: delete the other events; for a database without remove
	whole      string                    // -> whether the table of events is not partitioned
	unsent     string                    // after, limit, states -> seq of each skipped or dead delivery
	lock       string                    // what is put behind unsent to lock the rows
	weigh      string                    // seqs, skipped before, dead before, tenants -> seq, dead, old enough, finished, holds its key
	deliveries string                    // seqs: delete all deliveries
	events     string                    // seqs, first, last: delete events
}
