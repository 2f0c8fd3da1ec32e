package engine

// slot is a slot that the engine owns.
type slot struct {
	epoch    int64
	draining bool // it is given back when nothing of it is in memory
	cursor
	units   int // in memory
	retries int // of them, retried ones
	blocks  map[blockID]*block
}

// cursor is how far a slot has been read.
type cursor struct {
	next  int64 // everything visible up to here was read
	fresh bool  // must be read from next, whatever the marks say
	more  bool  // the last read ended at its limit
	swept int64 // during a sweep: what it finds up to here was missed before
}

// reread makes the slot be read from its start.
func (c *cursor) reread() { c.fresh, c.next = true, 0 }

type blockID struct {
	target string
	key    int64
}

// block is a key that is held back for a target: by rows, or by outcomes that are not settled yet.
type block struct {
	rows      bool
	unsettled int
}

// tailID names the deliveries that follow each other in the order of a key.
type tailID struct {
	slot int
	blockID
}
