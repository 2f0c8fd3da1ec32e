package admin

import (
	"context"
	"database/sql"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Client administers the outbox of one database. It is safe for concurrent use.
type Client struct{ store *store.Store }

// NewClient checks that the tables are there and returns a client of them. The error wraps [schema.ErrSchema] when they are missing, too old or too new.
// The caller closes db.
func NewClient(ctx context.Context, db *sql.DB, cfg schema.Config) (*Client, error) {
	s, err := store.Open(ctx, db, cfg)
	if err != nil {
		return nil, err
	}
	return &Client{store: s}, nil
}

// convert returns f of each element.
func convert[A, B any](list []A, f func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
