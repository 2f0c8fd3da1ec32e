package dialect

import "fmt"

// Tables are the quoted names that SQL text is rendered with.
type Tables struct {
	Prefix     string // bare, for names of constraints and indexes
	Schema     string // quoted, followed by a dot; or empty
	Outbox     string
	Pending    string
	Deliveries string
	Forwarders string
	Slots      string
	Migrations string
	Controls   string
	Cleanup    string
	Events     string // the view
	SeqSeq     string // the sequence behind outbox.seq
	AsJSON     string // function that shows a payload as JSON
	ToPending  string // trigger function: what is stored becomes pending
	Forget     string // trigger function: what is deleted takes along what hangs on it
	Slot       string // function that computes a slot
	Refuse     string // function that says why an event is not let in

	PartitionSize int64 // 0 when the events are not to be partitioned
}

// All are the tables that every version has.
func (t Tables) All() []string {
	return []string{t.Outbox, t.Pending, t.Deliveries, t.Controls, t.Cleanup, t.Forwarders, t.Slots}
}

// Partition is the quoted name of the partition that begins at from; the default partition for 0.
func (t Tables) Partition(from int64) string { return t.Schema + `"` + t.PartitionName(from) + `"` }

// PartitionFrom is where the nth partition begins, counted from 0.
func (t Tables) PartitionFrom(n int64) int64 { return 1 + n*t.PartitionSize }

// PartitionName is the bare name of the partition that begins at from; of the default partition for 0.
func (t Tables) PartitionName(from int64) string {
	if from == 0 {
		return t.Prefix + "_default"
	}
	return fmt.Sprintf("%s_p%d", t.Prefix, from)
}

// TablesOf returns the names of the tables with prefix in schema. An empty prefix is "outbox", an empty schema that of the connection.
func TablesOf(schema, prefix string) Tables {
	if prefix == "" {
		prefix = "outbox"
	}
	if schema != "" {
		schema = `"` + schema + `".`
	}
	name := func(suffix string) string { return schema + `"` + prefix + suffix + `"` }
	return Tables{
		Prefix: prefix, Schema: schema,
		Outbox: name(""), Pending: name("_pending"), Deliveries: name("_deliveries"), Forwarders: name("_forwarders"),
		Slots: name("_slots"), Migrations: name("_migrations"), Controls: name("_controls"), Cleanup: name("_cleanup"), Events: name("_events"), SeqSeq: name("_seq_seq"),
		AsJSON: name("_as_json"), ToPending: name("_to_pending"), Forget: name("_forget"), Slot: name("_slot"), Refuse: name("_refuse"),
	}
}

// Channel is the channel that a publisher notifies and forwarders listen to, on PostgreSQL.
func (t Tables) Channel() string { return "watermill_" + t.Prefix }
