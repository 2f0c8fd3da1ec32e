package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// TriggerState is the state of a trigger.
type TriggerState string

// The states of triggers.
const (
	TriggerOK       TriggerState = "ok"
	TriggerMissing  TriggerState = "missing"
	TriggerDisabled TriggerState = "disabled"
	TriggerPartial  TriggerState = "partial" // it does not fire in sessions of session_replication_role = replica, and should
)

// Trigger is a trigger that the migrations create on the table of events.
type Trigger struct {
	Name  string       `json:"name"`
	Fills bool         `json:"fills"` // it makes what is stored pending; the others remove what hangs on events that are deleted
	State TriggerState `json:"state"`
	Fix   string       `json:"fix"` // the SQL that puts it right; empty when nothing is to be done
}

var (
	triggerText   = regexp.MustCompile(`(?ms)^CREATE TRIGGER "([^"]+)" \S+ \S+ ON (\S+)\s(?:[^;]*?BEGIN.*?^END|[^;]*);`)
	triggerAlways = regexp.MustCompile(`(?m)^ALTER TABLE \S+ ENABLE ALWAYS TRIGGER "([^"]+)";`)
)

// Triggers returns the triggers that the migrations create on the table of events, in their order.
func (s *Store) Triggers(ctx context.Context) ([]Trigger, error) {
	text, names, err := s.migrations(ctx)
	if err != nil {
		return nil, err
	}
	always := map[string]string{}
	for _, m := range triggerAlways.FindAllStringSubmatch(text, -1) {
		always[m[1]] = m[0]
	}
	type found struct {
		name         string
		fires, every bool
	}
	there, err := look(ctx, s, "list triggers", s.q.diagnose.triggers, func(rows *sql.Rows) (f found, err error) {
		return f, rows.Scan(&f.name, &f.fires, &f.every)
	})
	if err != nil {
		return nil, err
	}
	var list []Trigger
	for _, m := range triggerText.FindAllStringSubmatch(text, -1) {
		name, table := m[1], m[2]
		if table != names.Outbox {
			continue
		}
		t := Trigger{Name: name, Fills: name == s.t.Prefix+"_to_pending", State: TriggerOK}
		enable := always[name]
		at := slices.IndexFunc(there, func(f found) bool { return f.name == name })
		switch {
		case at < 0:
			t.State, t.Fix = TriggerMissing, strings.TrimSpace(strings.Join(strings.Fields(m[0]), " ")+" "+enable)
		case !there[at].fires && enable == "":
			t.State, t.Fix = TriggerDisabled, fmt.Sprintf(`ALTER TABLE %s ENABLE TRIGGER "%s";`, table, name)
		case !there[at].fires:
			t.State, t.Fix = TriggerDisabled, enable
		case !there[at].every && enable != "":
			t.State, t.Fix = TriggerPartial, enable
		}
		list = append(list, t)
	}
	return list, nil
}
