package store

// diagnoseQueries look for what is wrong.
type diagnoseQueries struct {
	ageFrom      string // seq, seconds -> the first event from seq on, whether it is older
	oldest       string // -> age of the first event in seconds
	unfinished   string // before seq, limit -> pending, deliveries
	failures     string // limit -> state, destination, error
	holding      string // -> dead letters that later deliveries of their keys wait for, how many of these
	hotKey       string // -> key, its pending events of those looked at, those looked at
	triggers     string // -> the triggers of the events: name, whether it fires, whether in every session
	leftovers    string // limit -> pending, deliveries of events that are not there
	transactions string // seconds, whether only those that hold rows back -> seconds, name, SQL that ends it; empty where long ones do not matter

	deletedRows string // -> table, deleted rows that are not removed, rows; empty where the database does not tell
	slots       string // -> replication slots that nobody reads: name, bytes kept, whether it holds rows back; empty where there are none
	connections string // -> in use, most; empty where there is no limit
}
