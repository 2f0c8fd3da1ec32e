package store

import (
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// obstacle looks for what makes the server answer with less than there is, and without an error: something that is no table, a rule, a policy of
// row-level security that applies to the role and does not let everything through. A connection of another encoding answers with other text.
func (postgres) obstacle(t dialect.Tables) string {
	others := make([]string, 0, len(t.All()))
	for _, table := range t.All()[1:] {
		others = append(others, `('`+table+`'::regclass::oid, '{r,w,d}'::"char"[])`)
	}
	return `SELECT 'client_encoding is ' || current_setting('client_encoding') || ', so that text is read as other than it is; add client_encoding=UTF8 to the database URL'
		WHERE current_setting('client_encoding') NOT IN ('UTF8', 'SQL_ASCII')
		UNION ALL (SELECT CASE
			WHEN c.relkind NOT IN ('r', 'p') THEN format('%s is not a table', c.oid::regclass)
			WHEN rule IS NOT NULL THEN format('the rule %I of %s changes what is stored; DROP RULE %1$I ON %2$s', rule, c.oid::regclass)
			ELSE format('row-level security hides rows of %s from the role %I; ALTER ROLE %2$I BYPASSRLS, or make a policy FOR ALL TO %2$I USING (true)', c.oid::regclass, current_user)
		END
		FROM (VALUES ('` + t.Outbox + `'::regclass::oid, '{r}'::"char"[]), ` + strings.Join(others, ", ") + `) x (oid, commands) JOIN pg_class c ON c.oid = x.oid
		LEFT JOIN LATERAL (SELECT min(rulename) AS rule FROM pg_rewrite WHERE ev_class = c.oid AND ev_type <> '1') r ON true
		WHERE c.relkind NOT IN ('r', 'p') OR rule IS NOT NULL OR row_security_active(c.oid) AND EXISTS (SELECT 1 FROM unnest(commands) command
			CROSS JOIN LATERAL (SELECT bool_or(polpermissive AND open) AS let, bool_or(NOT polpermissive AND NOT open) AS hid
				FROM (SELECT polpermissive, COALESCE(pg_get_expr(polqual, polrelid) = 'true', true) AS open FROM pg_policy
					WHERE polrelid = c.oid AND polcmd IN ('*', command)
						AND EXISTS (SELECT 1 FROM unnest(polroles) role WHERE role = 0 OR pg_has_role(role, 'USAGE'))) p) p
			WHERE let IS NOT TRUE OR hid)
		ORDER BY c.relname LIMIT 1)`
}
