package dialect

import (
	"database/sql"
	"fmt"
	"strconv"
	"time"
)

type postgres struct{}

func (postgres) String() string { return "postgres" }

func (postgres) Ints(v []int64) string {
	b := make([]byte, 0, 2+8*len(v))
	b = append(b, '{')
	for i, n := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, '}'))
}

func (postgres) Strs(v []string) string {
	b := make([]byte, 0, 2+16*len(v))
	b = append(b, '{')
	for i, s := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		for j := range len(s) {
			if s[j] == '\\' || s[j] == '"' {
				b = append(b, '\\')
			}
			b = append(b, s[j])
		}
		b = append(b, '"')
	}
	return string(append(b, '}'))
}

func (postgres) Time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

type nullTime struct{ dst *time.Time }

// Scan takes infinity, which drivers hand on as they like, as the last and first time that RFC 3339 can write: one such row must not stop the rest.
func (n nullTime) Scan(v any) error {
	if t, ok := v.(time.Time); ok {
		*n.dst = t
		return nil
	}
	switch fmt.Sprint(v) {
	case "infinity":
		*n.dst = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		return nil
	case "-infinity":
		*n.dst = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)
		return nil
	}
	var t sql.NullTime
	err := t.Scan(v)
	*n.dst = t.Time
	return err
}

func (postgres) TimeScanner(dst *time.Time) any { return nullTime{dst} }

// txOptions asks for the isolation in which a statement sees what was committed before it, which guards and fences count on.
func (postgres) TxOptions() *sql.TxOptions { return &sql.TxOptions{Isolation: sql.LevelReadCommitted} }

func (postgres) Retryable(err error) bool {
	switch SQLState(err) {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	}
	return false
}

func (postgres) LockTimeout(err error) bool { return SQLState(err) == "55P03" }

func (postgres) MissingTable(err error) bool { return SQLState(err) == "42P01" }
