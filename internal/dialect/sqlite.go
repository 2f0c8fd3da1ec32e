package dialect

import (
	"database/sql"
	"fmt"
	"strings"
	"time"
)

type sqlite struct{}

func (sqlite) String() string { return "sqlite" }

func (sqlite) Ints(v []int64) string  { return jsonArray(v) }
func (sqlite) Strs(v []string) string { return jsonArray(v) }

const sqliteTime = "2006-01-02T15:04:05.000000Z"

func (sqlite) Time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(sqliteTime)
}

type textTime struct{ dst *time.Time }

// Scan reads what the outbox wrote, what SQLite's own functions write, and a time.Time of a driver that parses by itself.
func (s textTime) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.dst = time.Time{}
		return nil
	case time.Time:
		*s.dst = v
		return nil
	case []byte:
		return s.Scan(string(v))
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				*s.dst = t
				return nil
			}
		}
		*s.dst = time.Time{} // plain SQL may have stored anything; no reason to stop the line
		return nil
	case int64:
		*s.dst = time.Unix(v, 0).UTC()
		return nil
	}
	return fmt.Errorf("cannot read a time from %T", v)
}

func (sqlite) TimeScanner(dst *time.Time) any { return textTime{dst} }

func (sqlite) TxOptions() *sql.TxOptions { return nil }

func (sqlite) Retryable(err error) bool {
	s := err.Error()
	return strings.Contains(s, "SQLITE_BUSY") || strings.Contains(s, "database is locked")
}

func (sqlite) LockTimeout(error) bool { return false }

func (sqlite) MissingTable(err error) bool { return strings.Contains(err.Error(), "no such table") }
