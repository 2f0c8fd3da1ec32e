package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/router"
)

type explainCommand struct {
	routingFlags
	Routing   string `placeholder:"FILE" help:"Routing config or routes file, in JSON or YAML. Defaults to the routes configured for run."`
	Events    string `default:"-" placeholder:"FILE" help:"File of events, one JSON object per line; - is standard input (default -)."`
	AllowWhen bool   `help:"Allow when in the routing configs of events, like allow_when_per_event of run."`
	JSON      bool   `name:"json" help:"Print one JSON object per event."`
}

// maxEventLine is the longest line of events, in bytes. A payload may have 16 MiB.
const maxEventLine = 32 << 20

// reads implements reader.
func (c *explainCommand) reads() []string { return append(c.routingFlags.reads(), "routes") }

// Run prints where each event goes, and why.
func (c *explainCommand) Run(s *session) error {
	config := c.check(s)
	config.AllowExprPerEvent = config.AllowExprPerEvent || c.AllowWhen
	if c.Routing == "" {
		c.Routing = s.config.Routes
	}
	if c.Routing == "" {
		s.faults.Add("no routing: set --routing FILE, BENTO_OUTBOX_ROUTES, or routes in the file of --config")
	}
	if c.Routing == "-" && c.Events == "-" {
		s.faults.Add("--routing and --events cannot both be the standard input")
	}
	table := c.table(s, config)
	events := s.stdin
	if c.Events != "-" {
		file, err := os.Open(c.Events)
		if err != nil {
			s.faults.Add("--events %s: cannot be read: %w", c.Events, withoutPath(err))
		} else {
			defer file.Close()
			events = file
		}
	}
	if err := s.faults.Err(); err != nil {
		return err
	}
	x := explainer{session: s, table: table, publishers: config.Publishers, json: c.JSON}
	return x.explainAll(events)
}

func (c *explainCommand) table(s *session, config router.Config) *router.Table {
	if len(s.faults.Faults) > 0 {
		return nil
	}
	text, err := s.readRouting(c.Routing)
	if err != nil {
		s.faults.Add("--routing %s: cannot be read: %w", c.Routing, err)
		return nil
	}
	var wrong []router.Fault
	if config.Routes, wrong = parseRoutes(text, config); len(wrong) > 0 {
		for _, fault := range wrong {
			s.faults.Add("--routing %s: %s", c.Routing, fault)
		}
		return nil
	}
	table, err := router.NewTable(config)
	if err != nil {
		s.faults.Add("--routing %s: %w", c.Routing, err)
	}
	return table
}

// explainer explains the events of a stream.
type explainer struct {
	*session
	table      *router.Table
	publishers []string
	json       bool

	out    bytes.Buffer
	shown  int // events in the table
	failed int // lines with an error
}

func (x *explainer) explainAll(events io.Reader) error {
	in := bufio.NewReaderSize(events, 64<<10)
	lines := 0
	for number := 1; ; number++ {
		line, err := readLine(in)
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines++
			if err := x.explainLine(number, line, err); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if x.failed > 0 {
				return fmt.Errorf("%d of %d events cannot be routed", x.failed, lines)
			}
			return nil
		case err != nil && !errors.Is(err, errLongLine):
			return fmt.Errorf("events: %w", err)
		}
	}
}

var errLongLine = fmt.Errorf("is longer than %d bytes", maxEventLine)

// readLine returns the next line. It skips a line that is too long, and returns its beginning with errLongLine.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if line == nil && err == nil {
			return part, nil
		}
		if long = long || len(line)+len(part) > maxEventLine; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil && long:
			return line, errLongLine
		default:
			if long {
				err = errors.Join(errLongLine, err)
			}
			return line, err
		}
	}
}

// explainLine writes the explanation of the event on a line. It returns errors of writing only.
func (x *explainer) explainLine(number int, line []byte, readErr error) error {
	explanation := router.Explanation{Deliveries: []router.Delivery{}}
	e := &router.Event{}
	var err error
	if errors.Is(readErr, errLongLine) {
		err = errLongLine
	} else if e, err = parseEvent(line); err == nil {
		explanation = x.explain(e)
	}
	explanation.ID = e.ID
	if err != nil {
		explanation.Error = err.Error()
	}
	if explanation.Error != "" {
		x.failed++
		explanation.Error = fmt.Sprintf("line %d: %s", number, oneLine(explanation.Error))
	}
	x.out.Reset()
	switch {
	case x.json:
		if err := writeJSON(&x.out, explanation); err != nil {
			return err
		}
	case err == nil:
		x.writeTable(e, explanation)
	}
	if _, err := x.stdout.Write(x.out.Bytes()); err != nil {
		return err
	}
	if explanation.Error != "" && !x.json {
		x.complain(errors.New(explanation.Error))
	}
	return nil
}

func (x *explainer) explain(e *router.Event) router.Explanation {
	if e.CreatedAt.IsZero() {
		e.CreatedAt = time.Now()
	}
	return router.Explain(x.table, e, x)
}

// Check implements router.Destinations. Without known publishers, it accepts every name.
func (x *explainer) Check(destination string) error {
	name, _, named := strings.Cut(destination, "://")
	switch {
	case destination == "":
		return errors.New("has no topic, and no route or routing_key says where it goes")
	case named && len(x.publishers) > 0 && !slices.Contains(x.publishers, name):
		return fmt.Errorf("unknown publisher %.60q; known are %s", name, strings.Join(x.publishers, ", "))
	}
	return nil
}

// writeJSON writes x on one line. Payloads are written as they are spelled, except for line breaks; package json would compact them.
func writeJSON(out *bytes.Buffer, x router.Explanation) error {
	payloads := make([]json.RawMessage, len(x.Deliveries))
	x.Deliveries = slices.Clone(x.Deliveries)
	for i := range payloads {
		payloads[i], x.Deliveries[i].Payload = x.Deliveries[i].Payload, nil
	}
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(x); err != nil {
		return err
	}
	rest := b.Bytes()
	for _, payload := range payloads {
		const name = `"payload":` // in a string its quotes would be escaped
		before, after, _ := bytes.Cut(rest, []byte(name+"null"))
		out.Write(append(before, name...))
		switch {
		case payload == nil:
			out.WriteString("null")
		case bytes.ContainsAny(payload, "\r\n"):
			if err := json.Compact(out, payload); err != nil {
				return err
			}
		default:
			out.Write(payload)
		}
		rest = after
	}
	out.Write(rest)
	return nil
}
