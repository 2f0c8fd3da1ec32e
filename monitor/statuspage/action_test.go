package statuspage_test

import (
	"context"
	"database/sql"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

func TestActions(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		s := open(t, db, statuspage.Config{Token: token})
		bury(t, db, "4")
		require.Contains(t, s.get("/"), `data-action="replay" data-seq="1" data-target="search"`)
		states := func() (list []string) {
			rows, err := db.QueryContext(ctx, `SELECT state FROM outbox_deliveries ORDER BY seq`)
			require.NoError(t, err)
			defer rows.Close()
			for rows.Next() {
				var state string
				require.NoError(t, rows.Scan(&state))
				list = append(list, state)
			}
			require.NoError(t, rows.Err())
			return list
		}
		done := func(action, body string, want int) {
			t.Helper()
			status, n, fault := s.act(action, body)
			require.Equal(t, http.StatusOK, status, fault)
			require.Equal(t, want, n)
		}
		done("replay", `{"seq":1,"target":"search"}`, 1)
		done("replay", `{"seq":1,"target":"search"}`, 0)
		done("discard", `{"seq":2,"target":"search"}`, 1)
		require.Equal(t, []string{"waiting", "skipped", "dead", "dead"}, states())
		done("replay", `{"tenant":"zoo"}`, 0)
		done("replay", `{"destination":"kafka://orders"}`, 2)
		require.Equal(t, []string{"waiting", "skipped", "waiting", "waiting"}, states())
		require.NotContains(t, s.get("/"), `data-action="replay"`, "the page shows it at once")

		done("pause", `{"kind":"tenant","name":"acme","reason":"maintenance"}`, 1)
		list, err := s.store.Controls(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, store.PausedTenant, list[0].Kind)
		require.Equal(t, "maintenance", list[0].Reason)
		require.Contains(t, s.get("/"), `data-action="resume" data-kind="tenant" data-name="acme"`)
		done("resume", `{"kind":"tenant","name":"acme"}`, 1)
		list, err = s.store.Controls(ctx)
		require.NoError(t, err)
		require.Empty(t, list)
	})
}

func TestActionsWrongUse(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	s := open(t, db, statuspage.Config{Token: token})
	bury(t, db, "1")
	for _, test := range []struct{ name, action, body, want string }{
		{"nothing said", "replay", `{}`, "select dead letters by"},
		{"all of some", "discard", `{"all":true,"tenant":"acme"}`, "not both"},
		{"no JSON", "replay", `seq=1`, "cannot read"},
		{"unknown field", "replay", `{"sequence":1}`, "unknown field"},
		{"pause with a filter", "pause", `{"kind":"tenant","name":"a","all":true}`, "kind and name only"},
		{"replay with a name", "replay", `{"seq":1,"name":"a"}`, "for pause and resume"},
		{"what forwarders note", "resume", `{"kind":"unreachable","name":"kafka://orders"}`, "want destination, tenant or key"},
		{"no name", "pause", `{"kind":"tenant"}`, "name: want"},
		{"unlock of something", "unlock", `{"seq":1}`, "takes an empty object"},
		{"negative", "replay", `{"seq":-1}`, "negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, fault := s.act(test.action, test.body)
			require.Equal(t, http.StatusBadRequest, status)
			require.Contains(t, fault, test.want)
		})
	}
	status, _, fault := s.act("drop", `{}`)
	require.Equal(t, http.StatusNotFound, status, fault)
}

func TestActionsAreProtected(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	locked, open := open(t, db, statuspage.Config{}), open(t, db, statuspage.Config{Token: token})
	bury(t, db, "1")
	const all = `{"all":true}`
	with := func(more ...string) []string { return append([]string{"Content-Type", "application/json"}, more...) }
	for _, test := range []struct {
		name   string
		site   site
		header []string
		want   int
	}{
		{"no token is set", locked, with("Authorization", "Bearer "), http.StatusForbidden},
		{"none given", open, with(), http.StatusUnauthorized},
		{"empty", open, with("Authorization", "Bearer "), http.StatusUnauthorized},
		{"wrong", open, with("Authorization", "Bearer correct horse batterY"), http.StatusUnauthorized},
		{"a part of it", open, with("Authorization", "Bearer correct horse"), http.StatusUnauthorized},
		{"other scheme", open, with("Authorization", "Basic "+token), http.StatusUnauthorized},
		{"cross-site", open, with("Authorization", "Bearer "+token, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{"other origin", open, with("Authorization", "Bearer "+token, "Origin", "http://evil.example"), http.StatusForbidden},
		{"a form", open, []string{"Authorization", "Bearer " + token, "Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.site.do(http.MethodPost, "/actions/discard", all, test.header...)
			require.Equal(t, test.want, r.StatusCode)
			dead, err := open.store.Dead(context.Background(), store.DeadFilter{}, nil, 10)
			require.NoError(t, err)
			require.Len(t, dead, 1)
		})
	}
	require.Equal(t, http.StatusUnauthorized, open.do(http.MethodPost, "/actions/unlock", "{}", with("Authorization", "Bearer wrong")...).StatusCode)
	require.Equal(t, http.StatusOK, open.do(http.MethodPost, "/actions/unlock", "{}", with("Authorization", "Bearer "+token)...).StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, open.do(http.MethodGet, "/actions/discard", all, "Authorization", "Bearer "+token).StatusCode)
	require.Equal(t, http.StatusOK, open.do(http.MethodPost, "/actions/discard", all, with("Authorization", "Bearer "+token)...).StatusCode, "a script outside of a browser")
}
