package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// IndexState is the state of an index.
type IndexState string

// The states of indexes.
const (
	IndexOK      IndexState = "ok"
	IndexMissing IndexState = "missing" // the migrations create it, and it is not there
	IndexInvalid IndexState = "invalid" // it is there and serves nobody, as after CREATE INDEX CONCURRENTLY was interrupted
	IndexExtra   IndexState = "extra"   // the migrations do not create it
)

// Index is an index of one of the tables.
type Index struct {
	Name  string     `json:"name"`
	Table string     `json:"table"`
	State IndexState `json:"state"`
	Bytes int64      `json:"bytes"` // on disk; -1 where the database does not tell
	Scans int64      `json:"scans"` // how often it was used, since the statistics were reset; -1 where the database does not tell
	// Bloat is the estimated part of Bytes that its rows do not need, from 0 to 1; -1 when it cannot be told, as before the first ANALYZE.
	Bloat float64 `json:"bloat"`
	// Fix is the SQL that puts it right, empty when nothing is to be done. It does not stop publishers, unless it says so.
	Fix string `json:"fix"`
}

// An index is worth rebuilding above both of these.
const (
	bloatedPart  = 0.5
	bloatedBytes = 10 << 20
)

// Indexes returns all indexes of the tables that the migrations create, and those that somebody else has created on them, by table and name.
func (s *Store) Indexes(ctx context.Context) ([]Index, error) {
	list, err := s.wantedIndexes(ctx)
	if err != nil {
		return nil, err
	}
	there, err := s.presentIndexes(ctx)
	if err != nil {
		return nil, err
	}
	parts, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		w := &list[i]
		beside := "CONCURRENTLY "
		if w.Table == s.t.Prefix && len(parts) > 0 { // not to be had on a table that is partitioned
			beside = ""
			if concurrent := strings.Replace(w.Fix, "CONCURRENTLY ", "", 1); concurrent != w.Fix {
				w.Fix = concurrent + " -- writers wait"
			}
		}
		at := slices.IndexFunc(there, func(p Index) bool { return p.Name == w.Name })
		if at < 0 {
			continue
		}
		p := there[at]
		there = slices.Delete(there, at, at+1)
		quoted := s.t.Schema + `"` + w.Name + `"`
		switch {
		case p.State == IndexInvalid:
			p.Fix = fmt.Sprintf("DROP INDEX %s%s; %s", beside, quoted, w.Fix)
		case p.Bloat > bloatedPart && p.Bytes > bloatedBytes:
			p.Fix = fmt.Sprintf("REINDEX INDEX CONCURRENTLY %s;", quoted)
		}
		list[i] = p
	}
	for _, p := range there {
		if p.State == IndexOK {
			p.State = IndexExtra
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Index) int { return strings.Compare(a.Table+"\x00"+a.Name, b.Table+"\x00"+b.Name) })
	return list, nil
}

var indexParts = regexp.MustCompile(`(?m)^CREATE TABLE (\S+) \(|CONSTRAINT "([^"]+)" PRIMARY KEY (\([^)]*\))|^    PRIMARY KEY (\([^)]*\))|^CREATE( UNIQUE)? INDEX "([^"]+)" ON (\S+) ([^;]+);`)

// wantedIndexes returns what the migrations create, as if all were missing.
func (s *Store) wantedIndexes(ctx context.Context) ([]Index, error) {
	text, _, err := s.migrations(ctx)
	if err != nil {
		return nil, err
	}
	bare := func(table string) string { return strings.Trim(table[strings.LastIndex(table, ".")+1:], `"`) }
	var list []Index
	table := ""
	for _, p := range indexParts.FindAllStringSubmatch(text, -1) {
		i := Index{State: IndexMissing, Bytes: -1, Scans: -1, Bloat: -1}
		primary := p[3] + p[4]
		switch {
		case p[1] != "":
			table = p[1]
			continue
		case primary != "" && s.d == dialect.SQLite: // a part of the table
			continue
		case primary != "":
			i.Name, i.Table = p[2], bare(table)
			if i.Name == "" {
				i.Name = i.Table + "_pkey"
			}
			i.Fix = fmt.Sprintf(`ALTER TABLE %s ADD CONSTRAINT "%s" PRIMARY KEY %s; -- writers wait`, table, i.Name, primary)
		default:
			i.Name, i.Table = p[6], bare(p[7])
			i.Fix = fmt.Sprintf(`CREATE%s INDEX %s"%s" ON %s %s;`, p[5], s.q.concurrently, i.Name, p[7], strings.Join(strings.Fields(p[8]), " "))
		}
		list = append(list, i)
	}
	return list, nil
}

// migrations returns the SQL of all migrations as people run it elsewhere, and the names in it.
func (s *Store) migrations(ctx context.Context) (string, dialect.Tables, error) {
	cfg := s.cfg
	if cfg.Names.Schema == "" && s.q.currentSchema != "" {
		if err := s.db.QueryRowContext(ctx, s.q.currentSchema).Scan(&cfg.Names.Schema); err != nil {
			return "", dialect.Tables{}, wrap("tell the current schema", err)
		}
	}
	var b strings.Builder
	err := schema.WriteSQL(&b, cfg, "up")
	return b.String(), dialect.TablesOf(cfg.Names.Schema, cfg.Names.Prefix), err
}

func (s *Store) presentIndexes(ctx context.Context) ([]Index, error) {
	return look(ctx, s, "list indexes", s.q.indexes, func(rows *sql.Rows) (Index, error) {
		i := Index{State: IndexOK, Bloat: -1}
		var valid bool
		var bloat sql.NullFloat64
		err := rows.Scan(&i.Name, &i.Table, &valid, &i.Bytes, &i.Scans, &bloat)
		if !valid {
			i.State = IndexInvalid
		}
		if bloat.Valid {
			i.Bloat = max(bloat.Float64, 0)
		}
		return i, err
	})
}
