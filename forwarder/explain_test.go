package forwarder_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// onlyX are the destinations of a forwarder with the publisher x.
type onlyX struct{}

func (onlyX) Check(destination string) error {
	if name, _, named := strings.Cut(destination, "://"); named && name != "x" {
		return errors.New("unknown destination")
	}
	return nil
}

// What explain shows is what arrives: where, in whose name, with which payload, how often.
func TestExplainShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const bad = `"transform":{"include_fields":["x"]}`
		table, rec := routes(t), newRecorder()
		var want []string
		for i, c := range []struct{ config, payload string }{
			{`"targets":[{"destination":"a"},{"destination":"b","conditions":{"payload.n":2}}]`, `{"n":1}`},
			{`"fallback":"f","targets":[{"destination":"a",` + bad + `},{"destination":"b",` + bad + `},{"destination":"c"}]`, `text`},
			{`"fallback":"f","targets":[{"destination":"f",` + bad + `},{"name":"n","destination":"b",` + bad + `}]`, `text`},
			{`"fallback":"f","targets":[{"destination":"y://a"},{"destination":"x://b"}]`, `{}`},
			{`"fallback":"f","targets":[{"destination":"a","conditions":{"payload.n":2}},{"destination":"b","conditions":{"payload.n":3}}]`, `{"n":1}`},
			{`"fallback":"f","targets":[{"destination":"a","conditions":{"payload.n":2}},{"destination":"b","sampling_rate":0}]`, `{"n":1}`},
			{`"fallback":"y://f","targets":[{"destination":"a",` + bad + `}]`, `text`},
			{`"strategy":"all_or_nothing","fallback":"f","targets":[{"destination":"a"},{"destination":"b",` + bad + `}]`, `text`},
			{`"strategy":"all_or_nothing","targets":[{"destination":"a"},{"destination":"y://b","delay_seconds":9}]`, `{}`},
			{`"strategy":"all_or_nothing","fallback":"f","targets":[{"destination":"a","conditions":{"payload.n":2}}]`, `{}`},
		} {
			id, config := fmt.Sprintf("e-%d", i), "{"+c.config+"}"
			msg := configured(id, c.payload, config)
			msg.UUID = id
			publishRouted(t, db, table, "t", msg)
			for _, d := range router.Explain(table, &router.Event{ID: id, Topic: "t", Payload: []byte(c.payload), RoutingConfig: config}, onlyX{}).Deliveries {
				if d.Decision == "deliver" {
					want = append(want, strings.Join([]string{id, strings.TrimPrefix(d.Destination, "x://"), d.Target, string(d.Bytes)}, " "))
				}
			}
		}
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		eventually(t, "all are finished", func() bool { s := statuses(t, db); return s["NEW"]+s["FAILED"] == 0 })
		var got []string
		rec.mu.Lock()
		defer rec.mu.Unlock()
		for topic, msgs := range rec.got {
			for _, m := range msgs {
				got = append(got, strings.Join([]string{m.UUID, topic, m.Metadata.Get(outbox.KeyTarget), string(m.Payload)}, " "))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got)
		require.Len(t, want, 9)
	})
}
