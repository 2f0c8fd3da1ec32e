package schema

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	random "math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed migrations
var migrationFiles embed.FS

// ErrSchema is wrapped by errors about tables that are missing, too old, or newer than this version.
var ErrSchema = errors.New("outbox tables")

// Migration is one versioned change of the tables.
type Migration struct {
	Version   int
	Name      string
	AppliedAt time.Time // zero when it is not applied
}

// Migrator creates and changes the tables. Several processes may migrate at once: each migration runs in its own transaction, under a lock.
type Migrator struct {
	db *sql.DB
	c  Config
}

// NewMigrator returns a migrator of the tables that cfg names. It does no I/O.
func NewMigrator(db *sql.DB, cfg Config) (*Migrator, error) {
	cfg, err := cfg.withDialect(db)
	if err != nil {
		return nil, err
	}
	return &Migrator{db: db, c: cfg}, nil
}

// Config returns the config of the tables, with its dialect set.
func (m *Migrator) Config() Config { return m.c }

// Check returns the identity of the tables, a random name from their creation. The error wraps [ErrSchema] when they are missing, too old, or newer
// than this version.
func (m *Migrator) Check(ctx context.Context) (identity string, err error) {
	done, identity, err := m.c.applied(ctx, m.db)
	if err != nil {
		return "", err
	}
	known, err := migrations(m.c.Dialect)
	if err != nil {
		return "", err
	}
	newest := known[len(known)-1].Version
	switch {
	case len(done) == 0:
		return "", fmt.Errorf("%w: none found; create them with \"outbox migrate up\" or schema.Migrator", ErrSchema)
	case done[len(done)-1].Version > newest:
		return "", newerSchema(done[len(done)-1].Version, newest)
	case len(done) < len(known):
		return "", fmt.Errorf("%w: at version %d, want %d; bring them up with \"outbox migrate up\" or schema.Migrator",
			ErrSchema, done[len(done)-1].Version, newest)
	}
	return identity, nil
}

// Up applies all pending migrations and returns them. Those applied before an error remain applied.
func (m *Migrator) Up(ctx context.Context) ([]Migration, error) {
	var applied []Migration
	for {
		one, err := m.step(ctx, func(known, done []Migration) (*Migration, string) {
			for i := range known {
				if !has(done, known[i].Version) {
					return &known[i], "up"
				}
			}
			return nil, ""
		})
		if err != nil || one == nil {
			return applied, err
		}
		applied = append(applied, *one)
	}
}

// Down reverts the newest applied migration and returns it, or nil when none is applied. It drops tables with their data.
func (m *Migrator) Down(ctx context.Context) (*Migration, error) {
	return m.step(ctx, func(known, done []Migration) (*Migration, string) {
		if len(done) == 0 {
			return nil, ""
		}
		return &done[len(done)-1], "down"
	})
}

// Status returns all migrations that this version knows or that the database has, ordered by version.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) {
	known, err := migrations(m.c.Dialect)
	if err != nil {
		return nil, err
	}
	done, _, err := m.c.applied(ctx, m.db)
	if err != nil {
		return nil, err
	}
	for _, d := range done {
		if i := slices.IndexFunc(known, func(k Migration) bool { return k.Version == d.Version }); i >= 0 {
			known[i] = d
		} else {
			known = append(known, d)
		}
	}
	return known, nil
}

// WriteSQL writes the SQL of all migrations in a direction, "up" or "down". Running it is equivalent to calling Up, or Down until no migration is
// applied. On PostgreSQL, names are qualified with cfg.Names.Schema, which defaults to "public" here.
func WriteSQL(w io.Writer, cfg Config, direction string) error {
	if direction != "up" && direction != "down" {
		return fmt.Errorf("direction %q: want up or down", direction)
	}
	if cfg.Dialect == "" {
		cfg.Dialect = PostgreSQL
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Dialect == SQLite {
		cfg.Names.Schema = ""
	}
	if cfg.Dialect == PostgreSQL && cfg.Names.Schema == "" {
		cfg.Names.Schema = "public"
	}
	known, err := migrations(cfg.Dialect)
	if err != nil {
		return err
	}
	q := cfg.statements()
	t := cfg.tables()
	if direction == "down" {
		slices.Reverse(known)
	} else if _, err := fmt.Fprintf(w, "BEGIN;\n%s;\n", q.createVersions); err != nil {
		return err
	}
	for _, k := range known {
		text, err := render(cfg, k, direction)
		if err != nil {
			return err
		}
		var record string
		if direction == "down" {
			record = fmt.Sprintf("DELETE FROM %s WHERE version = %d;", t.Migrations, k.Version)
			if k.Version == known[len(known)-1].Version {
				record = fmt.Sprintf("DROP TABLE %s;", t.Migrations)
			}
			text = "BEGIN;\n" + text
		} else {
			record = fmt.Sprintf("INSERT INTO %s (version, name, identity) VALUES (%d, '%s', '%s');", t.Migrations, k.Version, k.Name, newIdentity())
		}
		if _, err := fmt.Fprintf(w, "\n-- %03d %s\n%s\n%s\nCOMMIT;\n", k.Version, k.Name, text, record); err != nil {
			return err
		}
		if direction == "up" && k.Version != known[len(known)-1].Version {
			if _, err := io.WriteString(w, "\nBEGIN;\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

func has(list []Migration, version int) bool {
	return slices.ContainsFunc(list, func(m Migration) bool { return m.Version == version })
}

// step runs one migration, again when others are at it: a SQLite file that is new to its readers is busy whatever the timeout.
func (m *Migrator) step(ctx context.Context, choose func(known, done []Migration) (*Migration, string)) (*Migration, error) {
	const tries, wait = 50, 100 * time.Millisecond
	for try := 1; ; try++ {
		one, err := m.once(ctx, choose)
		if err == nil || try == tries || !m.c.Dialect.values().Retryable(err) {
			return one, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait/2 + random.N(wait)):
		}
	}
}

// once runs one migration in one transaction, under the lock.
func (m *Migrator) once(ctx context.Context, choose func(known, done []Migration) (*Migration, string)) (_ *Migration, err error) {
	known, err := migrations(m.c.Dialect)
	if err != nil {
		return nil, err
	}
	tx, err := m.db.BeginTx(ctx, m.c.Dialect.values().TxOptions())
	if err != nil {
		return nil, fmt.Errorf("cannot migrate: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	q := m.c.statements()
	if _, err := tx.ExecContext(ctx, q.lock); err != nil {
		return nil, fmt.Errorf("cannot lock for migration: %w", err)
	}
	c := m.c
	if c.Names.Schema == "" {
		if err := tx.QueryRowContext(ctx, q.currentSchema).Scan(&c.Names.Schema); err != nil {
			return nil, fmt.Errorf("cannot tell the current schema: %w", err)
		}
		if c.Names.Schema == "" && c.Dialect == PostgreSQL {
			return nil, fmt.Errorf("%w: no schema of search_path exists; create one or name it", ErrSchema)
		}
		if err := c.Validate(); err != nil {
			return nil, err
		}
		q = c.statements()
	}
	done, _, err := c.applied(ctx, tx)
	if err != nil {
		return nil, err
	}
	if n := len(done); n > 0 && done[n-1].Version > known[len(known)-1].Version {
		return nil, newerSchema(done[n-1].Version, known[len(known)-1].Version)
	}
	one, direction := choose(known, done)
	if one == nil {
		return nil, tx.Commit()
	}
	if _, err := tx.ExecContext(ctx, q.createVersions); err != nil {
		return nil, fmt.Errorf("cannot create the table of migrations (without the right to, print the SQL and have it run): %w", err)
	}
	text, err := render(c, *one, direction)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return nil, fmt.Errorf("migration %03d_%s %s: %w", one.Version, one.Name, direction, err)
	}
	t := c.tables()
	record := fmt.Sprintf("INSERT INTO %s (version, name, identity) VALUES (%d, '%s', '%s')", t.Migrations, one.Version, one.Name, newIdentity())
	if direction == "down" {
		record = fmt.Sprintf("DELETE FROM %s WHERE version = %d", t.Migrations, one.Version)
		if len(done) == 1 {
			record = "DROP TABLE " + t.Migrations
		}
	}
	if _, err := tx.ExecContext(ctx, record); err != nil {
		return nil, fmt.Errorf("cannot record migration %03d_%s: %w", one.Version, one.Name, err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("cannot commit migration %03d_%s: %w", one.Version, one.Name, err)
	}
	return one, nil
}

func newIdentity() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func newerSchema(have, know int) error {
	return fmt.Errorf("%w: version %d is newer than %d, the newest this version of watermill-outbox knows; upgrade it", ErrSchema, have, know)
}

func migrations(d Dialect) ([]Migration, error) {
	files, err := fs.Glob(migrationFiles, path.Join("migrations", string(d), "*.up.sql"))
	if err != nil {
		return nil, err
	}
	list := make([]Migration, 0, len(files))
	for _, f := range files { // Glob sorts
		number, name, _ := strings.Cut(strings.TrimSuffix(path.Base(f), ".up.sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration file %s: %w", f, err)
		}
		list = append(list, Migration{Version: version, Name: name})
	}
	return list, nil
}

func render(c Config, m Migration, direction string) (string, error) {
	file := path.Join("migrations", string(c.Dialect), fmt.Sprintf("%03d_%s.%s.sql", m.Version, m.Name, direction))
	tmpl, err := template.ParseFS(migrationFiles, file)
	if err != nil {
		return "", fmt.Errorf("migration %03d_%s: %w", m.Version, m.Name, err)
	}
	t := c.tables()
	t.PartitionSize = c.PartitionSize
	var b bytes.Buffer
	if err := tmpl.Execute(&b, t); err != nil {
		return "", fmt.Errorf("migration %03d_%s: %w", m.Version, m.Name, err)
	}
	return b.String(), nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// applied returns what the database has, by version, and the identity of its tables; nothing when it has no tables.
func (c Config) applied(ctx context.Context, db querier) (done []Migration, identity string, err error) {
	q := c.statements()
	var there bool
	if err := db.QueryRowContext(ctx, q.hasTable, c.tables().Migrations).Scan(&there); err != nil {
		return nil, "", fmt.Errorf("cannot look for the outbox tables: %w", err)
	}
	if !there {
		return nil, "", nil
	}
	rows, err := db.QueryContext(ctx, q.versions)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read which migrations are applied: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m Migration
		var id string
		if err := rows.Scan(&m.Version, &m.Name, &id, c.Dialect.values().TimeScanner(&m.AppliedAt)); err != nil {
			return nil, "", fmt.Errorf("cannot read which migrations are applied: %w", err)
		}
		if identity == "" {
			identity = id
		}
		done = append(done, m)
	}
	return done, identity, rows.Err()
}
