package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/bento-outbox/watermill-outbox/admin"
)

type deadShow struct {
	databaseFlags
	Seq    string  `required:"" placeholder:"SEQ" help:"The number of the event."`
	Target *string `placeholder:"NAME" help:"This target only."`
	JSON   bool    `name:"json" help:"Print one JSON object."`
}

// deadEvent is the output of --json: an event and its dead letters.
type deadEvent struct {
	Seq            int64           `json:"seq"`
	ID             string          `json:"id"`
	TenantID       string          `json:"tenant_id"`
	Topic          string          `json:"topic"`
	Key            string          `json:"key"` // for pause --key
	AggregateType  string          `json:"aggregate_type"`
	AggregateID    string          `json:"aggregate_id"`
	OccurredAt     time.Time       `json:"occurred_at"`
	CreatedAt      time.Time       `json:"created_at"`
	SchemaID       string          `json:"schema_id"`
	SchemaVersion  string          `json:"schema_version"`
	Metadata       json.RawMessage `json:"metadata"`
	RoutingKey     string          `json:"routing_key"`
	RoutingVersion string          `json:"routing_version"`
	RoutingConfig  json.RawMessage `json:"routing_config"`
	PayloadSize    int             `json:"payload_size"`
	Payload        json.RawMessage `json:"payload,omitempty"`        // if it is JSON
	PayloadBase64  *[]byte         `json:"payload_base64,omitempty"` // otherwise
	Letters        []deadTarget    `json:"letters"`
}

type deadTarget struct {
	Target      string    `json:"target"`
	Destination string    `json:"destination"`
	Attempts    int       `json:"attempts"`
	HoldsKey    bool      `json:"holds_key"`
	FailedAt    time.Time `json:"failed_at"`
	DiedAt      time.Time `json:"died_at"`
	Error       string    `json:"error"`
}

// Run shows an event with all its dead letters.
func (c *deadShow) Run(s *session) error {
	target := s.database()
	filter := deadFilters{Target: c.Target}.check(&s.faults, time.Time{})
	filter.Seqs = []int64{s.faults.seq("--seq", c.Seq)}
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		events, err := client.Events(ctx, filter.Seqs, math.MaxInt32)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return failf("there is no event %d", filter.Seqs[0])
		}
		var dead []admin.DeadLetter
		err = eachDeadPage(ctx, client, filter, func(page []admin.DeadLetter) error {
			dead = append(dead, page...)
			return nil
		})
		switch {
		case err != nil:
			return err
		case len(dead) == 0 && filter.Target != "":
			return failf("event %d has no dead letter for target %q", filter.Seqs[0], filter.Target)
		case len(dead) == 0:
			return failf("event %d is not dead", filter.Seqs[0])
		}
		shown := newDeadEvent(&events[0], dead)
		if c.JSON {
			return newEncoder(s.stdout).Encode(shown)
		}
		return shown.write(s.stdout)
	})
}

func newDeadEvent(e *admin.Event, dead []admin.DeadLetter) deadEvent {
	d := deadEvent{
		Seq: e.Seq, ID: e.ID, TenantID: e.TenantID, Topic: e.Topic, Key: e.Key(), AggregateType: e.AggregateType, AggregateID: e.AggregateID,
		OccurredAt: e.OccurredAt.UTC(), CreatedAt: e.CreatedAt.UTC(), SchemaID: e.SchemaID, SchemaVersion: e.SchemaVersion,
		Metadata: rawJSON(e.Metadata), RoutingKey: e.RoutingKey, RoutingVersion: e.RoutingVersion, RoutingConfig: rawJSON(e.RoutingConfig),
		PayloadSize: e.PayloadSize,
	}
	if json.Valid(e.Payload) && utf8.Valid(e.Payload) {
		d.Payload = e.Payload
	} else {
		d.PayloadBase64 = &e.Payload
	}
	for _, l := range dead {
		d.Letters = append(d.Letters, deadTarget{
			Target: l.Target, Destination: l.Destination, Attempts: l.Attempts, HoldsKey: l.HoldsKey, FailedAt: l.FailedAt.UTC(),
			DiedAt: l.DiedAt.UTC(), Error: l.Error,
		})
	}
	return d
}

// rawJSON returns stored JSON as it is spelled, null for an empty text, and a JSON string for text that is not JSON.
func rawJSON(text string) json.RawMessage {
	switch {
	case text == "":
		return json.RawMessage("null")
	case json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always encodes
	}
	return quoted
}

// write writes d as text.
func (d deadEvent) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(name, value string) {
		if value != "" && value != "null" {
			fmt.Fprintf(t, "%s\t%s\n", name, printable(value))
		}
	}
	line("seq", fmt.Sprint(d.Seq))
	line("id", d.ID)
	line("tenant", d.TenantID)
	line("topic", d.Topic)
	line("key", d.Key)
	line("occurred", timeText(d.OccurredAt))
	line("created", timeText(d.CreatedAt))
	line("schema", strings.TrimSpace(d.SchemaID+" "+d.SchemaVersion))
	line("metadata", string(d.Metadata))
	line("routing key", d.RoutingKey)
	line("routing version", d.RoutingVersion)
	line("routing config", string(d.RoutingConfig))
	switch {
	case d.PayloadBase64 == nil:
		line("payload", string(d.Payload))
	case *d.PayloadBase64 == nil:
		line("payload", "none")
	default:
		fmt.Fprintf(t, "payload\t%d bytes that are not JSON, in base64: %s\n", d.PayloadSize, base64.StdEncoding.EncodeToString(*d.PayloadBase64))
	}
	for _, l := range d.Letters {
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(t)
		line("target", l.Target)
		line("destination", l.Destination)
		line("attempts", fmt.Sprint(l.Attempts))
		line("failed", timeText(l.FailedAt))
		line("died", timeText(l.DiedAt))
		holds := "no"
		if l.HoldsKey {
			holds = "yes, later events of the key wait for it"
		}
		line("holds key", holds)
		for i, cause := range strings.Split(strings.TrimRight(l.Error, "\n"), "\n") {
			if i == 0 {
				line("cause", cause)
			} else {
				fmt.Fprintf(t, "\t%s\n", printable(cause))
			}
		}
	}
	return t.Flush()
}
