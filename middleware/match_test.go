package middleware_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

func handle(t *testing.T, mw message.HandlerMiddleware, msg *message.Message) (handled bool, err error) {
	t.Helper()
	_, err = mw(func(*message.Message) ([]*message.Message, error) {
		handled = true
		return nil, nil
	})(msg)
	return handled, err
}

func TestMatchInAnyRouter(t *testing.T) {
	t.Parallel()
	mw, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.visible": true, "id": "u-1"}`, When: "payload.n > 1"})
	if err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]bool{`{"visible":true,"n":2}`: true, `{"visible":true,"n":1}`: false, `{"visible":false}`: false} {
		if handled, err := handle(t, mw, message.NewMessage("u-1", []byte(payload))); handled != want || err != nil {
			t.Errorf("%s: handled %v, %v", payload, handled, err)
		}
	}
	if _, err := handle(t, mw, message.NewMessage("u-1", []byte(`x`))); !middleware.IsPermanent(err) {
		t.Errorf("error is %v, want a permanent one", err)
	}
	var invalid *middleware.InvalidError
	_, err = middleware.Match(middleware.MatchConfig{Conditions: `{"x": 1}`, When: "y"})
	if !errors.As(err, &invalid) || !errors.Is(err, middleware.ErrInvalid) || !middleware.IsPermanent(err) || len(invalid.Faults) != 2 || invalid.Faults[0].Pointer != "/x" {
		t.Errorf("error is %v", err)
	}
}

func TestMatchReadsAttributes(t *testing.T) {
	t.Parallel()
	mw, err := middleware.Match(middleware.MatchConfig{Conditions: `{"topic": "orders", "tenant_id": "acme", "aggregate_type": "order", "aggregate_id": "7",
		"schema_id": "s", "schema_version": 2, "occurred_at": {"$gt": "2025-01-01"}}`})
	if err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("u-1", nil)
	msg.Metadata = message.Metadata{
		event.KeyTopic: "orders", event.KeyTenantID: "acme", event.KeyAggregateType: "order",
		event.KeyAggregateID: "7", event.KeySchemaID: "s", event.KeySchemaVersion: "2",
		event.KeyOccurredAt: "2025-01-31T12:00:00Z",
	}
	if handled, err := handle(t, mw, msg); !handled || err != nil {
		t.Fatal(handled, err)
	}
}

func TestPermanentErrorsAreRecordedUnderTheForwarder(t *testing.T) {
	t.Parallel()
	match, _ := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.visible": true}`})
	sample, _ := middleware.Sample(middleware.SampleConfig{Rate: 0.5, Key: "payload.customer"})
	transform, _ := middleware.Transform(middleware.TransformConfig{ExcludeFields: []string{"a"}})
	for name, mw := range map[string]message.HandlerMiddleware{"match": match, "sample": sample, "transform": transform} {
		for _, poisons := range []bool{false, true} {
			pub, msg := &publisher{}, message.NewMessage("1", []byte("no JSON"))
			if poisons {
				poison, _ := middleware.PoisonQueue(pub, "poison")
				inner := mw
				mw = func(next message.HandlerFunc) message.HandlerFunc { return poison(inner(next)) }
			}
			d := underForwarder(msg, 1, time.Now())
			handled, err := handle(t, mw, msg)
			if o := d.Outcome(); handled || err != nil || o.Kind != delivery.Failed || !middleware.IsPermanent(o.Err) {
				t.Errorf("%s: handled %v, %v, %+v", name, handled, err, o)
			}
			if poisons != (len(pub.published) == 1) {
				t.Errorf("%s: %d messages are poisoned", name, len(pub.published))
			}
		}
	}
}

func TestMatchUnderTheForwarderRecordsSkipped(t *testing.T) {
	t.Parallel()
	mw, _ := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.visible": true}`})
	msg := message.NewMessage("u-1", []byte(`{"visible":false}`))
	d := delivery.New(1, time.Now())
	msg.SetContext(delivery.NewContext(context.Background(), d))
	if handled, err := handle(t, mw, msg); handled || err != nil {
		t.Fatal(handled, err)
	}
	if o := d.Outcome(); o.Kind != delivery.Skipped || o.Reason != "condition" {
		t.Fatalf("outcome is %+v", o)
	}
}
