package forwarder_test

import (
	"bytes"
	"database/sql"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func TestPublisherStoresWhateverWatermillAllows(t *testing.T) {
	t.Parallel()
	every := make([]byte, 1024)
	for i := range every {
		every[i] = byte(i)
	}
	for name, msgs := range map[string][]*message.Message{
		"empty UUID":       {message.NewMessage("", []byte("x"))},
		"repeated UUIDs":   {message.NewMessage("1", []byte("a")), message.NewMessage("1", []byte("b"))},
		"long UUID":        {message.NewMessage(strings.Repeat("u", outbox.MaxText), []byte("x"))},
		"strange UUID":     {message.NewMessage("Ünï'\"\\ ?$1 %s", []byte("x"))},
		"binary payload":   {message.NewMessage("1", every)},
		"empty payload":    {message.NewMessage("1", []byte{})},
		"no payload":       {message.NewMessage("1", nil)},
		"a payload of 1 M": {message.NewMessage("1", bytes.Repeat(every, 1024))},
		"no metadata":      {{UUID: "1", Payload: []byte("x")}},
		"strange metadata": {{UUID: "1", Metadata: message.Metadata{"": "empty", "k\n'\"\\": "v\t'\"\\<>&\u2028", "ключ": "значение"}}},
		"none":             {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				publish(t, db, "Any topic, at all: ünï ' \" \\ $1 ?", msgs...)
				var stored int
				require.NoError(t, db.QueryRow(`SELECT count(*) FROM outbox`).Scan(&stored))
				require.Equal(t, len(msgs), stored)
				rec := newRecorder()
				drain(t, db, forwarder.Config{}, map[string]message.Publisher{"sink": rec})
				got := rec.got["Any topic, at all: ünï ' \" \\ $1 ?"]
				require.Len(t, got, len(msgs))
				for _, m := range got {
					i := 0
					if len(msgs) > 1 && string(m.Payload) == "b" { // they have no order
						i = 1
					}
					require.Equal(t, msgs[i].UUID, m.UUID)
					require.True(t, bytes.Equal(msgs[i].Payload, m.Payload), "byte for byte")
					for k, v := range msgs[i].Metadata {
						require.Equal(t, v, m.Metadata[k], "%q", k)
					}
				}
			})
		})
	}
}
