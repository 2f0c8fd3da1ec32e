package schema

import (
	"fmt"
	"regexp"
)

// Names says how the outbox tables are called. The zero value is a table named outbox in the connection's default schema.
type Names struct {
	// Schema is the PostgreSQL schema of the tables. Defaults to the first schema of the connection's search_path.
	// SQLite has none.
	Schema string
	// Prefix is the name of the events table and what the names of the others start with. Defaults to "outbox".
	// Lower-case letters, digits and underscores, at most 40 bytes.
	Prefix string
}

var (
	prefixPattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)
	schemaPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$-]{0,62}$`)
)

func (n Names) validate() error {
	if n.Prefix != "" && !prefixPattern.MatchString(n.Prefix) {
		return fmt.Errorf("table prefix %q: want lower-case letters, digits and underscores, at most 40, not starting with a digit", n.Prefix)
	}
	if n.Schema != "" && !schemaPattern.MatchString(n.Schema) {
		return fmt.Errorf("schema name %q: want letters, digits, _, $ and -, at most 63, not starting with a digit", n.Schema)
	}
	return nil
}

// tables are the quoted names that SQL text is rendered with.
type tables struct {
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
	names         Names
}

// all are the tables that every version has.
func (t tables) all() []string {
	return []string{t.Outbox, t.Pending, t.Deliveries, t.Controls, t.Cleanup, t.Forwarders, t.Slots}
}

// Partition is the quoted name of the partition that begins at from; the default partition for 0.
func (t tables) Partition(from int64) string { return t.Schema + `"` + t.names.partition(from) + `"` }

// PartitionFrom is where the nth partition begins, counted from 0.
func (t tables) PartitionFrom(n int64) int64 { return 1 + n*t.PartitionSize }

func (n Names) partition(from int64) string {
	prefix := n.Prefix
	if prefix == "" {
		prefix = "outbox"
	}
	if from == 0 {
		return prefix + "_default"
	}
	return fmt.Sprintf("%s_p%d", prefix, from)
}

func (n Names) tables() tables {
	prefix := n.Prefix
	if prefix == "" {
		prefix = "outbox"
	}
	schema := ""
	if n.Schema != "" {
		schema = `"` + n.Schema + `".`
	}
	name := func(suffix string) string { return schema + `"` + prefix + suffix + `"` }
	return tables{
		Prefix: prefix, Schema: schema,
		Outbox: name(""), Pending: name("_pending"), Deliveries: name("_deliveries"), Forwarders: name("_forwarders"),
		Slots: name("_slots"), Migrations: name("_migrations"), Controls: name("_controls"), Cleanup: name("_cleanup"), Events: name("_events"), SeqSeq: name("_seq_seq"),
		AsJSON: name("_as_json"), ToPending: name("_to_pending"), Forget: name("_forget"), Slot: name("_slot"), Refuse: name("_refuse"),
		names: n,
	}
}
