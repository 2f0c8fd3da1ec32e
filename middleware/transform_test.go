package middleware_test

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

func TestTransformInAnyRouter(t *testing.T) {
	t.Parallel()
	mw, err := middleware.Transform(middleware.TransformConfig{FieldMapping: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	shared := []byte(`{"a":1}`)
	msg, neighbour := message.NewMessage("1", shared), message.NewMessage("2", shared)
	attempts := 0
	handler := mw(func(m *message.Message) ([]*message.Message, error) {
		if attempts++; string(m.Payload) != `{"b":1}` {
			t.Errorf("attempt %d sees %s", attempts, m.Payload)
		}
		switch attempts {
		case 1:
			return nil, errors.New("failed")
		case 2:
			panic("failed")
		}
		return []*message.Message{m}, nil
	})
	if _, err := handler(msg); err == nil || string(msg.Payload) != `{"a":1}` {
		t.Fatalf("after a failure the payload is %s", msg.Payload)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = handler(msg)
	}()
	if string(msg.Payload) != `{"a":1}` {
		t.Fatalf("after a panic the payload is %s", msg.Payload)
	}
	produced, err := handler(msg)
	if err != nil || string(produced[0].Payload) != `{"b":1}` {
		t.Fatalf("produced %s, %v", produced[0].Payload, err)
	}
	if string(neighbour.Payload) != `{"a":1}` {
		t.Fatalf("the neighbour has %s", neighbour.Payload)
	}
}
