package testdb

import (
	"context"
	"database/sql"
	"testing"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Objects returns what the database has beside rows: columns, indexes, functions and triggers.
func Objects(t testing.TB, db *sql.DB) (list []string) {
	t.Helper()
	query := `SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1`
	if d, err := schema.DialectOf(db); err == nil && d == schema.PostgreSQL {
		query = `SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || COALESCE(column_default, '') || is_nullable || COALESCE(generation_expression, '')
				FROM information_schema.columns WHERE table_schema = current_schema()
			UNION ALL SELECT 'index ' || regexp_replace(indexdef, 'test_\w+\.', '', 'g') FROM pg_indexes WHERE schemaname = current_schema()
			UNION ALL SELECT 'function ' || proname || prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
			UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
				AND NOT tgisinternal
			ORDER BY 1`
	}
	rows, err := db.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
