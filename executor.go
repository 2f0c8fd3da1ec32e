package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"

	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Executor is the part of a transaction that a [Publisher] uses. *sql.Tx, *sql.Conn, *sql.DB, *sqlx.Tx, the ConnPool of a GORM statement and the Tx of
// an ent client generated with the feature sql/execquery implement it; [Pgx] adapts a pgx transaction.
//
// ExecContext must pass the query and its numbered parameters to the driver unchanged.
type Executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// checkExecutor refuses at once what could only fail, or panic, when it is used.
func checkExecutor(tx Executor) error {
	if p, ok := tx.(*pgxTx); ok && p != nil {
		if isNil(p.tx) {
			return errors.New("transaction is nil: outbox.Pgx was given none")
		}
		return nil
	}
	if isNil(tx) {
		return fmt.Errorf("transaction is nil (%T)", tx)
	}
	t := reflect.TypeOf(tx)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if strings.HasPrefix(t.PkgPath(), "github.com/uptrace/bun") {
		return fmt.Errorf("%T replaces the parameters of queries itself; pass the value of database/sql that is in it: tx.Tx, conn.Conn or db.DB", tx)
	}
	return nil
}

func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Func:
		return r.IsNil()
	default:
		return false
	}
}

// dialectOf returns the dialect that tx speaks where it can be told without asking the database, else "".
func dialectOf(tx Executor) schema.Dialect {
	if db, ok := tx.(interface{ DriverName() string }); ok && strings.Contains(strings.ToLower(db.DriverName()), "sqlite") { // sqlx
		return schema.SQLite
	}
	if db, ok := tx.(*sql.DB); ok {
		if d, err := schema.DialectOf(db); err == nil {
			return d
		}
	}
	return ""
}

// explained adds the remedy to an error that shows that the database is not the one that the statement was written for, or has no tables.
func explained(err error, chosen schema.Dialect) error {
	if err != nil && chosen == "" && strings.Contains(err.Error(), "no such function: clock_timestamp") {
		return fmt.Errorf("%w; the database is SQLite, which a transaction does not tell before it is used: set Dialect of outbox.Config to schema.SQLite", err)
	}
	if err != nil && (dialect.SQLState(err) == "42P01" || strings.Contains(err.Error(), "no such table: ")) {
		return fmt.Errorf("%w; create them with \"outbox migrate up\" or schema.Migrator: %w", schema.ErrSchema, err)
	}
	return err
}

// boundExecutor is an Executor as watermill-sql's publisher wants it, which uses ExecContext only. It runs under the caller's context;
// watermill-sql would run under the background context.
type boundExecutor struct {
	wmsql.ContextExecutor // nil

	db  Executor
	ctx context.Context
}

func (b boundExecutor) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	return b.db.ExecContext(b.ctx, query, args...)
}
