// Package lab measures this project's forwarder side by side with Watermill's own, on real services.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Settings are what a series of runs has in common. The zero value of a field is its default.
type Settings struct {
	DatabaseURL string `json:"-"` // PostgreSQL; the user needs CREATEDB
	RedisURL    string `json:"-"`
	KafkaURL    string `json:"-"`

	Events       []int         `json:"events"`       // backlogs to drain; 100,000
	Destinations []string      `json:"destinations"` // of [Destinations]; nothing
	Systems      []string      `json:"systems"`      // of [Systems]; stock and ours
	Only         string        `json:"only,omitempty"`
	Repeats      int           `json:"repeats"`         // 3
	Keys         int           `json:"keys"`            // ordering keys; 10,000
	Zipf         float64       `json:"zipf"`            // exponent of the keys' distribution, above 1; uniform when 0
	Payload      int           `json:"payload_bytes"`   // 300
	Finished     int           `json:"finished_events"` // that lie in the tables besides
	Unrouted     bool          `json:"unrouted"`        // ours gets no static routes
	Window       time.Duration `json:"window_ns"`       // what is measured of a run that would take longer; 20 s
	// BatchSize and MaxConcurrent are ours; those of the forwarder's defaults when 0.
	BatchSize     int `json:"batch_size,omitempty"`
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	Results string `json:"-"` // directory of raw results; none when empty
	Profile string `json:"-"` // directory of profiles of ours

	// Progress, when set, is called several times a second with what is measured and how much of it is done, from 0 to 1.
	Progress func(done float64, what string) `json:"-"`

	only *regexp.Regexp
}

// Check returns all that is wrong with s, or nil.
func (s Settings) Check() error { return s.validate() }

func (s *Settings) validate() error {
	def := func(v *int, standard int) {
		if *v == 0 {
			*v = standard
		}
	}
	def(&s.Repeats, 3)
	def(&s.Keys, 10_000)
	def(&s.Payload, 300)
	if len(s.Events) == 0 {
		s.Events = []int{100_000}
	}
	if len(s.Destinations) == 0 {
		s.Destinations = []string{"nothing"}
	}
	if len(s.Systems) == 0 {
		s.Systems = []string{"stock", "ours"}
	}
	if s.Window == 0 {
		s.Window = 20 * time.Second
	}
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(s.DatabaseURL != "", "the URL of the database is missing")
	for _, n := range s.Events {
		check(n > 0 && n <= 100_000_000, "events: %d is not between 1 and 100 million", n)
	}
	for _, d := range s.Destinations {
		check(slices.Contains(Destinations(), d), "destinations: %q is none of %s", d, strings.Join(Destinations(), ", "))
		check(s.RedisURL != "" || !strings.HasPrefix(d, "redis"), "destinations: %s needs the URL of a Redis", d)
		check(s.KafkaURL != "" || !strings.HasPrefix(d, "kafka"), "destinations: %s needs the URL of a Kafka", d)
	}
	for _, name := range s.Systems {
		check(slices.Contains(Systems(), name), "systems: %q is none of %s", name, strings.Join(Systems(), ", "))
	}
	check(s.Repeats > 0, "repeats: %d is not positive", s.Repeats)
	check(s.Keys > 0 && s.Keys < 100_000_000, "keys: %d is not between 1 and 99,999,999", s.Keys)
	check(s.Zipf == 0 || s.Zipf > 1, "zipf: %g is not above 1", s.Zipf)
	check(s.Payload >= 100 && s.Payload <= 1<<20, "payload: %d is not between 100 and 1 MiB", s.Payload)
	check(s.Finished >= 0, "finished: %d is negative", s.Finished)
	check(s.Window > 0, "window: %s is not positive", s.Window)
	var err error
	s.only, err = regexp.Compile(s.Only)
	check(err == nil, "only: %w", err)
	return errors.Join(faults...)
}

// Run measures, prints a Markdown table to out and writes lines about what goes on to progress. It makes databases of its own on the server, named
// watermill_outbox_bench_PID_..., and drops them at the end; the topics or streams it uses are named watermill-outbox-bench. The error lists
// everything that is wrong with s, or says that a run broke a promise: an event came twice, out of order or not at all.
func Run(ctx context.Context, s Settings, out, progress io.Writer) error {
	if err := s.validate(); err != nil {
		return err
	}
	l, err := openLab(ctx, s, progress)
	if err != nil {
		return err
	}
	defer l.close()
	r := report{Settings: s, Machine: l.machine(ctx), Started: time.Now().UTC()}
	err = l.series(ctx, func(m measurement) error {
		r.Runs = append(r.Runs, m)
		return r.save(s.Results)
	})
	if len(r.Runs) == 0 {
		return err
	}
	return errors.Join(err, r.table(out))
}

// Table prints the table of a file of raw results.
func Table(file string, out io.Writer) error {
	r, err := load(file)
	if err != nil {
		return err
	}
	return r.table(out)
}
