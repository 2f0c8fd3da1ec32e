package main

// result is what became of the events for one destination.
type result struct {
	expected, received           int
	lost, duplicated, outOfOrder int
}

// arrival is a message that a consumer received.
type arrival struct {
	event, payload string
}

// check compares what a destination should have received, in any order, with what it did receive, in that order.
//
// An arrival that nothing asks for, for its event was rolled back, is not for this destination or has another payload, is
// counted as duplicated: it came more often than it should. A delivery is out of order when a later one of the same key
// arrived before it.
func check(expected []delivery, received []arrival) result {
	r := result{expected: len(expected), received: len(received)}
	due := make(map[arrival][]delivery, len(expected))
	for _, d := range expected {
		a := arrival{d.event, d.payload}
		due[a] = append(due[a], d)
	}
	latest := map[string]int64{} // by key
	for _, a := range received {
		if len(due[a]) == 0 {
			r.duplicated++
			continue
		}
		d := due[a][0]
		due[a] = due[a][1:]
		if d.key == "" {
			continue
		}
		if d.seq < latest[d.key] {
			r.outOfOrder++
		}
		latest[d.key] = max(latest[d.key], d.seq)
	}
	for _, left := range due {
		r.lost += len(left)
	}
	return r
}
