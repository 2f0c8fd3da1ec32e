package console_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	"github.com/bento-outbox/watermill-outbox/adapters/console"
)

// buffer checks that every Write is one whole line.
type buffer struct {
	t  *testing.T
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	assert.Equal(b.t, 1, bytes.Count(p, []byte("\n")))
	assert.True(b.t, bytes.HasSuffix(p, []byte("\n")))
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) lines() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := bytes.Clone(b.b.Bytes())
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

func TestConformance(t *testing.T) {
	out := &buffer{t: t}
	adapterstest.Run(t, adapterstest.Harness{
		Open: func(*testing.T) message.Publisher { return console.NewPublisher(out, console.Config{}, nil) },
		Received: func(t *testing.T, topic string) []adapterstest.Record {
			var records []adapterstest.Record
			for _, text := range out.lines() {
				var line struct {
					Topic, UUID   string
					Metadata      message.Metadata
					Payload       json.RawMessage
					PayloadBase64 *string `json:"payload_base64"`
				}
				require.NoError(t, json.Unmarshal(text, &line))
				if line.Topic != topic {
					continue
				}
				payload := []byte(line.Payload)
				if line.PayloadBase64 != nil {
					var err error
					payload, err = base64.StdEncoding.DecodeString(*line.PayloadBase64)
					require.NoError(t, err)
				}
				records = append(records, adapterstest.Record{UUID: line.UUID, Payload: payload, Metadata: line.Metadata})
			}
			return records
		},
	})
}

func TestOpen(t *testing.T) {
	for _, raw := range []string{"console://", "console://stdout", "console://stderr", "console://stdout/?omit_payload=true"} {
		pub, err := adapters.Open(t.Context(), raw, nil)
		require.NoError(t, err, raw)
		require.NoError(t, pub.Close())
		require.ErrorIs(t, pub.Publish("t"), adapters.ErrClosed)
	}
	_, err := adapters.Open(t.Context(), "console://file/x?omit=1", nil)
	require.EqualError(t, err, `open console://file: a path is not used
host must be stdout or stderr
unknown option "omit": known are omit_payload`)
}

func TestJSONPayloadIsPrintedOnOneLine(t *testing.T) {
	out := &buffer{t: t}
	pub := console.NewPublisher(out, console.Config{}, nil)
	require.NoError(t, pub.Publish("t", message.NewMessage("1", []byte("{\n \"a\": [1.0,\n 2]\n}"))))
	assert.Equal(t, `{"topic":"t","uuid":"1","metadata":{},"payload":{"a":[1.0,2]}}`, string(out.lines()[0]))
}

func TestJSONThatIsNoTextIsPrintedAsBytes(t *testing.T) {
	out := &buffer{t: t}
	pub := console.NewPublisher(out, console.Config{}, nil)
	require.NoError(t, pub.Publish("t", message.NewMessage("1", []byte("\"\xff\""))))
	assert.Equal(t, `{"topic":"t","uuid":"1","metadata":{},"payload_base64":"Iv8i"}`, string(out.lines()[0]))
}

func TestOmitPayload(t *testing.T) {
	out := &buffer{t: t}
	pub := console.NewPublisher(out, console.Config{OmitPayload: true}, nil)
	require.NoError(t, pub.Publish("t", message.NewMessage("1", []byte("secret"))))
	assert.Equal(t, `{"topic":"t","uuid":"1","metadata":{}}`, string(out.lines()[0]))
}

type broken struct{ n int }

func (b broken) Write(p []byte) (int, error) {
	if b.n > 0 {
		return b.n, nil
	}
	return 0, errors.New("no space")
}

func TestWriteErrorsUseNoAttempts(t *testing.T) {
	for _, w := range []broken{{0}, {3}} {
		err := console.NewPublisher(w, console.Config{}, nil).Publish("t", message.NewMessage("1", nil))
		require.Error(t, err)
		assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err))
	}
}
