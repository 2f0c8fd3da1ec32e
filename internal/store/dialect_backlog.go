package store

// backlogQueries are the statements that count what is not finished, and who works on it.
type backlogQueries struct {
	heads            string           // floors by slot -> last seq, first pending seq, JSON of the first pending seq of each slot, age of the oldest pending in seconds
	pending          string           // limit -> count
	deliveries       map[State]string // limit -> destination, count, age of the oldest
	allDeliveries    string           // limit -> count, first and last seq
	events           string           // limit -> state, '', tenant, topic, count, age of the oldest
	samplePending    string           // starts, width, slots -> state, '', tenant, topic, count, age of the oldest
	sampleDeliveries string           // starts, width -> state, destination, tenant, topic, count, age of the oldest
	fleet            string           // -> id, group, started, alive, number of slots; with an empty id the slots that nobody owns
}
