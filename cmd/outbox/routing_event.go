package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/nearest"
	"github.com/bento-outbox/watermill-outbox/router"
)

// eventKeys are the keys of an event on a line. They have the names of the columns.
var eventKeys = []string{"id", "topic", "tenant_id", "aggregate_type", "aggregate_id", "occurred_at", "created_at", "schema_id",
	"schema_version", "payload", "metadata", "routing_key", "routing_config"}

// parseEvent reads an event from a line of JSON. The payload keeps its spelling. The error has every fault of the line; the event then has the keys
// that are right.
func parseEvent(line []byte) (*router.Event, error) {
	e := &router.Event{}
	if err := json.Unmarshal(line, new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return e, fmt.Errorf("is not JSON at byte %d: %w", syntax.Offset, err)
		}
		return e, fmt.Errorf("is not JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if start, _ := dec.Token(); start != json.Delim('{') {
		return e, errors.New("is not a JSON object")
	}
	var wrong config.Faults
	seen := make(map[string]bool, len(eventKeys))
	for dec.More() {
		token, err := dec.Token()
		key, _ := token.(string)
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		switch {
		case err != nil:
			return e, err
		case seen[key]:
			wrong.Add("key %.60q is given twice", key)
			continue
		}
		seen[key] = true
		if err := setAttribute(e, key, value); err != nil {
			wrong.Add("%w", err)
		}
	}
	if len(wrong) > 0 {
		return e, errors.New(oneLine(wrong.Error()))
	}
	return e, nil
}

// setAttribute sets what key, a column of the table, calls value.
func setAttribute(e *router.Event, key string, value json.RawMessage) (err error) {
	if key == "payload" {
		e.Payload = value
		return nil
	}
	if string(value) == "null" {
		value = nil
	}
	texts := map[string]*string{
		"id": &e.ID, "topic": &e.Topic, "tenant_id": &e.TenantID, "aggregate_type": &e.AggregateType, "aggregate_id": &e.AggregateID,
		"schema_id": &e.SchemaID, "schema_version": &e.SchemaVersion, "routing_key": &e.RoutingKey,
	}
	switch key {
	case "occurred_at":
		e.OccurredAt, err = timeOf(key, value)
	case "created_at":
		e.CreatedAt, err = timeOf(key, value)
	case "metadata":
		e.Metadata, err = metadataOf(value)
	case "routing_config":
		if e.RoutingConfig = string(value); strings.HasPrefix(e.RoutingConfig, `"`) {
			e.RoutingConfig, err = textOf(key, value)
		}
	default:
		text, known := texts[key]
		if known {
			*text, err = textOf(key, value)
			return err
		}
		if near := nearest.Name(key, eventKeys); near != "" {
			return fmt.Errorf("unknown key %.60q, did you mean %q?", key, near)
		}
		return fmt.Errorf("unknown key %.60q; known are %s", key, strings.Join(eventKeys, ", "))
	}
	return err
}

// textOf returns a string, or a number as it is spelled, because ids are often numbers.
func textOf(key string, value json.RawMessage) (string, error) {
	if len(value) == 0 {
		return "", nil
	}
	if c := value[0]; c == '-' || '0' <= c && c <= '9' {
		return string(value), nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return "", fmt.Errorf("%s must be a string, not %s", key, kindOf(value))
	}
	return text, nil
}

func timeOf(key string, value json.RawMessage) (time.Time, error) {
	if len(value) == 0 {
		return time.Time{}, nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return time.Time{}, fmt.Errorf("%s must be a string, not %s", key, kindOf(value))
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf(`%s is not a time, such as "2025-01-31T12:00:00Z" or "2025-01-31"`, key)
}

func metadataOf(value json.RawMessage) (message.Metadata, error) {
	if len(value) == 0 {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return nil, fmt.Errorf("metadata must be an object, not %s", kindOf(value))
	}
	m := make(message.Metadata, len(members))
	for key, member := range members {
		var text *string
		if err := json.Unmarshal(member, &text); err != nil || text == nil {
			return nil, fmt.Errorf("metadata: the value of %.60q must be a string, not %s", key, kindOf(member))
		}
		m[key] = *text
	}
	return m, nil
}

func kindOf(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
