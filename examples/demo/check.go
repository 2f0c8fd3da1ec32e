package main

// result is what became of the events for one destination.
type result struct {
	expected, received           int
	lost, duplicated, outOfOrder int
}

// check compares what a destination should have received, in any order, with what it did receive, in that order.
//
// An event that nobody committed, of an order that was rolled back for one, is counted as duplicated: it arrived more
// often than it should. An event is out of order when a later one of the same customer arrived before it.
func check(expected, received []order) result {
	r := result{expected: len(expected), received: len(received)}
	due := make(map[string]int, len(expected))
	for _, o := range expected {
		due[o.ID]++
	}
	latest := map[string]int{} // by customer
	for _, o := range received {
		if due[o.ID] == 0 {
			r.duplicated++
			continue
		}
		due[o.ID]--
		if o.Number < latest[o.Customer] {
			r.outOfOrder++
		}
		latest[o.Customer] = max(latest[o.Customer], o.Number)
	}
	for _, n := range due {
		r.lost += n
	}
	return r
}
