package store

// partitionQueries take care of partitions. All are empty where there are none.
type partitionQueries struct {
	list     string // -> schema, name, bound or NULL when it was detached, events, bytes
	patience string // first of a transaction: do not wait long for a lock
	adding   string // one adds partitions at a time; writers go on
	stop     string // nobody writes
	lock     string // everybody else waits
	kept     string // from, to, limit -> seq of events that stay

	newer  func(p Partition) string // before -> last number given out, whether any event of it was stored later
	add    func(p Partition) []string
	detach func(p Partition) []string
	move   func(from, to Partition) string // seqs
	drop   func(p Partition) string
}
