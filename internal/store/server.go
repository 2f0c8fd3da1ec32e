package store

import (
	"context"
	"database/sql"
)

// DeletedRows is the number of deleted rows of a table, which take space and time until vacuum removes them.
type DeletedRows struct {
	Table   string
	Deleted int64 // by the server's statistics
	Rows    int64 // not deleted
}

// DeletedRows returns the deleted rows of the tables whose rows come and go; nothing where the database has no vacuum.
func (s *Store) DeletedRows(ctx context.Context) ([]DeletedRows, error) {
	return look(ctx, s, "look at deleted rows", s.q.diagnose.deletedRows, func(rows *sql.Rows) (d DeletedRows, err error) {
		return d, rows.Scan(&d.Table, &d.Deleted, &d.Rows)
	})
}

// ReplicationSlot is a replication slot without a reader.
type ReplicationSlot struct {
	Name  string
	Bytes int64 // of the log that the server keeps for it
	Holds bool  // whether it keeps vacuum from removing rows
}

// UnreadSlots returns at most ten replication slots of the server without a reader, by name.
func (s *Store) UnreadSlots(ctx context.Context) ([]ReplicationSlot, error) {
	return look(ctx, s, "list replication slots", s.q.diagnose.slots, func(rows *sql.Rows) (r ReplicationSlot, err error) {
		return r, rows.Scan(&r.Name, &r.Bytes, &r.Holds)
	})
}

// Connections returns the number of client connections to all databases of the server, without this one, and the number that it takes from ordinary
// users; 0 and 0 where it has no limit.
func (s *Store) Connections(ctx context.Context) (used, most int, err error) {
	if s.q.diagnose.connections == "" {
		return 0, 0, nil
	}
	err = s.db.QueryRowContext(ctx, s.q.diagnose.connections).Scan(&used, &most)
	return used, most, wrap("count connections", err)
}

// look returns the result of scan for each row of query, and nothing if query is empty.
func look[T any](ctx context.Context, s *Store, what, query string, scan func(*sql.Rows) (T, error), args ...any) (list []T, err error) {
	if query == "" {
		return nil, nil
	}
	err = retry(ctx, s.d, func() error {
		list = nil
		rows, err := s.db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, wrap(what, err)
	}
	return list, nil
}
