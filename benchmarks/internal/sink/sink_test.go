package sink_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
)

func TestSinkFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	send := func(s *sink.Sink, key, number int) {
		require.NoError(t, s.Publish("t", message.NewMessage(sink.ID(key, number), nil)))
	}
	good := sink.New(nil, 4, 2)
	send(good, 0, 1)
	send(good, 1, 3)
	send(good, 0, 2)
	send(good, 1, 4)
	<-good.Done()
	require.NoError(t, good.Counts().Err())

	bad := sink.New(nil, 4, 2)
	send(bad, 0, 2)
	send(bad, 0, 1)
	send(bad, 1, 3)
	send(bad, 1, 3)
	require.Equal(t, sink.Counts{Delivered: 3, Duplicated: 1, Disordered: 1}, bad.Counts())
	require.Error(t, bad.Publish("t", message.NewMessage("other", nil)))
}
