package schema

import (
	"fmt"
	"regexp"
)

// Names are the names of the tables. The zero value is a table outbox in the default schema of the connection.
type Names struct {
	// Schema is the PostgreSQL schema of the tables. Defaults to the first schema of the connection's search_path.
	// SQLite has none.
	Schema string
	// Prefix is the name of the table of events, and the prefix of all others. Defaults to "outbox".
	// Lower-case letters, digits and underscores, at most 40 bytes.
	Prefix string
}

var (
	prefixPattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)
	schemaPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$-]{0,62}$`)
)

// Validate returns an error if n cannot name tables.
func (n Names) Validate() error {
	if n.Prefix != "" && !prefixPattern.MatchString(n.Prefix) {
		return fmt.Errorf("table prefix %q: want lower-case letters, digits and underscores, at most 40, not starting with a digit", n.Prefix)
	}
	if n.Schema != "" && !schemaPattern.MatchString(n.Schema) {
		return fmt.Errorf("schema name %q: want letters, digits, _, $ and -, at most 63, not starting with a digit", n.Schema)
	}
	return nil
}
