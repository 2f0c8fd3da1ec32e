package outbox

import (
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

const insertColumns = 15 // parameters of an event; its tombstone follows from its payload

// insertPostgres returns the statement that stores n events, insertColumns parameters each.
func insertPostgres(table string, n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO ` + table + ` (` + dialect.StoredColumns + `) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		p := i * insertColumns
		fmt.Fprintf(&b, `($%d::text,$%d::text,$%d::text,$%d::text,$%d::text,COALESCE($%d::timestamptz,clock_timestamp()),$%d::text,$%d::text,$%d::text,$%d::bytea,$%d::text IS NULL AND $%d::bytea IS NULL,$%d::json,$%d::text,$%d::json,$%d::text,$%d::text)`,
			p+1, p+2, p+3, p+4, p+5, p+6, p+7, p+8, p+9, p+10, p+9, p+10, p+11, p+12, p+13, p+14, p+15)
	}
	return b.String()
}

// insertSQLite is insertPostgres for SQLite.
func insertSQLite(table string, n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO ` + table + ` (` + dialect.StoredColumns + `) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		text, raw := i*insertColumns+9, i*insertColumns+10
		fmt.Fprintf(&b, `(?,?,?,?,?,COALESCE(?,%s),?,?,?%d,?%d,?%[2]d IS NULL AND ?%[3]d IS NULL,?,?,?,?,?)`, dialect.SQLiteNow, text, raw)
	}
	return b.String()
}
