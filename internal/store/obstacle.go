package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// unobstructed returns an error for what makes the database answer with less than there is, and without an error. It wraps [schema.ErrSchema].
func unobstructed(ctx context.Context, db queryer, q queries) error {
	if q.obstacle == "" {
		return nil
	}
	var what string
	switch err := db.QueryRowContext(ctx, q.obstacle).Scan(&what); {
	case err == nil:
		return fmt.Errorf("%w: %s", schema.ErrSchema, what)
	case errors.Is(err, sql.ErrNoRows):
		return nil
	default:
		return wrap("look for what hides rows", err)
	}
}
