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

// Validate reports whether the names can be those of tables.
func (n Names) Validate() error {
	if n.Prefix != "" && !prefixPattern.MatchString(n.Prefix) {
		return fmt.Errorf("table prefix %q: want lower-case letters, digits and underscores, at most 40, not starting with a digit", n.Prefix)
	}
	if n.Schema != "" && !schemaPattern.MatchString(n.Schema) {
		return fmt.Errorf("schema name %q: want letters, digits, _, $ and -, at most 63, not starting with a digit", n.Schema)
	}
	return nil
}
