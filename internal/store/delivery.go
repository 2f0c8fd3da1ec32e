package store

// State is what a row of outbox_deliveries waits for.
type State string

// The states of a delivery that did not end at the first pass.
const (
	Waiting State = "waiting" // to be tried when due
	Held    State = "held"    // behind an earlier delivery of its ordering key
	Dead    State = "dead"    // gave up
	Skipped State = "skipped" // nobody wanted it
)

// Delivery is one event to one target, as far as it is not finished.
type Delivery struct {
	Seq         int64   `json:"seq"`
	Target      string  `json:"target"`
	Slot        int     `json:"slot"`
	KeyHash     *int64  `json:"key_hash"` // nil when the delivery stands outside order
	Destination string  `json:"destination"`
	State       State   `json:"state"`
	Attempts    int     `json:"attempts"`
	Wait        float64 `json:"wait"` // seconds from now until it is due
	Error       string  `json:"error"`
	// Parked, of a held one: it waits for a destination or a pause, not for an earlier delivery of its key.
	Parked bool `json:"-"`
}

// Due is a delivery whose time has come, with its event.
type Due struct {
	Delivery
	Event Event
}

// HeldKey is an ordering key that an unfinished delivery holds back for one target.
type HeldKey struct {
	Slot    int    `json:"slot"`
	Target  string `json:"target"`
	KeyHash int64  `json:"key_hash"`
}

// Unrouted is the target of an event that is dead because it could not be routed at all. When it is replayed it has its first pass.
const Unrouted = "(unrouted)"

// MaxTarget is the longest name of a target or destination that is stored, in bytes; an index entry must hold it.
const MaxTarget = 1024
