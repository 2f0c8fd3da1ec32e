package faults

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is what the workload wrote; it is also the payload.
type Event struct {
	ID      string `json:"id"`
	Key     string `json:"key"`
	N       int64  `json:"n"`       // counts up by key, under the key's lock
	Ordered bool   `json:"ordered"` // whether the writer held the key's lock
	Plan    int    `json:"plan"`    // which of the routing configs it carries
	VIP     bool   `json:"vip"`
	Amount  int    `json:"amount"`
}

// Destinations by their short names. Topics carry the run's prefix.
const (
	kafkaAll   = "kafka://all"
	kafkaBig   = "kafka://big"
	redisAll   = "redis://all"
	redisVIP   = "redis://vip"
	redisLater = "redis://later"
	redisRest  = "redis://rest"
)

var destinations = []string{kafkaAll, kafkaBig, redisAll, redisVIP, redisLater, redisRest}

// plans are the routing configs, as JSON with a %[1]s for the run's prefix and %[2]s for the retry policy. wants says the same in Go: the
// checker must not ask the router what the router should do.
var plans = []struct {
	config string
	wants  func(e Event) []string
}{
	{
		`{"targets":[{"destination":"kafka://%[1]sall","retry_policy":"%[2]s"},{"destination":"redis://%[1]sall","retry_policy":"%[2]s"},
		{"destination":"redis://%[1]svip","conditions":{"payload.vip":true},"retry_policy":"%[2]s"}]}`,
		func(e Event) []string {
			if e.VIP {
				return []string{kafkaAll, redisAll, redisVIP}
			}
			return []string{kafkaAll, redisAll}
		},
	},
	{
		`{"targets":[{"destination":"kafka://%[1]sall","retry_policy":"%[2]s"},
		{"destination":"kafka://%[1]sbig","conditions":{"payload.amount":{"$gt":500}},"retry_policy":"%[2]s"}]}`,
		func(e Event) []string {
			if e.Amount > 500 {
				return []string{kafkaAll, kafkaBig}
			}
			return []string{kafkaAll}
		},
	},
	{
		`{"targets":[{"destination":"redis://%[1]sall","retry_policy":"%[2]s"},
		{"destination":"kafka://%[1]sbig","conditions":{"payload.amount":{"$gt":500}},"retry_policy":"%[2]s"},
		{"destination":"redis://%[1]slater","delay_seconds":1,"retry_policy":"%[2]s"}]}`,
		func(e Event) []string {
			if e.Amount > 500 {
				return []string{redisAll, kafkaBig, redisLater}
			}
			return []string{redisAll, redisLater}
		},
	},
	{
		`{"fallback":"redis://%[1]srest","targets":[{"destination":"kafka://%[1]sbig","conditions":{"payload.amount":{"$gt":500}},"retry_policy":"%[2]s"}]}`,
		func(e Event) []string {
			if e.Amount > 500 {
				return []string{kafkaBig}
			}
			return []string{redisRest}
		},
	},
}

// unordered are destinations outside order: delayed deliveries stand there for good.
var unordered = map[string]bool{redisLater: true}

func routingConfig(plan int, prefix, policy string) string {
	return fmt.Sprintf(plans[plan].config, prefix, policy)
}

// Wants returns the destinations that e must arrive at, once or more.
func (e Event) Wants() []string { return plans[e.Plan].wants(e) }

func (e Event) payload() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // plain fields
	}
	return b
}

// Outcome is what a writer knows of its transaction.
type Outcome string

// Outcomes. Of an unknown one, the business row tells later whether it was committed.
const (
	Committed  Outcome = "committed"
	RolledBack Outcome = "rolled back"
	Unknown    Outcome = "unknown"
)

// Transaction is one transaction of the workload, as its journal and the business rows tell it.
type Transaction struct {
	ID      string
	Events  []Event
	Undone  []Event   // published and rolled back to a savepoint
	Outcome Outcome   // as the writer saw it
	Row     bool      // whether its business row is there
	At      time.Time // when the writer knew
}

// Arrival is one message as a broker holds it. Arrivals of one partition are in its order.
type Arrival struct {
	Destination string
	Partition   int
	At          time.Time // by the broker's clock
	Payload     []byte
	Slot        int
	Epoch       int64     // of the lease that it was sent under
	CreatedAt   time.Time // when the event was stored, by the database's clock
}

// Window is one fault as it was applied.
type Window struct {
	Kind       Kind      `json:"kind"`
	Detail     string    `json:"detail,omitempty"`
	Start, End time.Time // End is when all was healed: servers answer again
}

// Refusal is a publish that returned an error to the forwarder, whether or not the broker took the message.
type Refusal struct {
	ID          string    `json:"id"` // of the event
	Destination string    `json:"destination"`
	At          time.Time `json:"at"`
	Error       string    `json:"error"`
}

// History is all that the checker looks at.
type History struct {
	Transactions []Transaction
	Arrivals     []Arrival
	Windows      []Window
	Refusals     []Refusal
}
