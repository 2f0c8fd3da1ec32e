package schema

// diagnoseQueries look for what is wrong.
type diagnoseQueries struct {
	ageFrom      string // seq, seconds -> the first event from seq on, whether it is older
	oldest       string // -> age of the first event in seconds
	unfinished   string // before seq, limit -> pending, deliveries
	failures     string // limit -> state, destination, error
	transactions string // seconds -> seconds, name, SQL that ends it; empty where long ones do not matter
}
