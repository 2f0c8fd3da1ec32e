package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// report says what became of every event.
type report struct {
	Published  int            `json:"published"`   // events that were committed
	RolledBack int            `json:"rolled_back"` // events that were not
	Delivered  map[string]int `json:"delivered"`   // messages received, by destination
	Dead       int            `json:"dead"`
	Skipped    int            `json:"skipped"`
	Lost       int            `json:"lost"`
	Duplicated int            `json:"duplicated"`
	OutOfOrder int            `json:"out_of_order"`

	destinations                  []string
	results                       map[string]result
	deadLetters                   []deadLetter
	expectedDead, expectedSkipped int
	unfinished                    int
}

func newReport(ctx context.Context, db *database, shop *shop, routes *router.Table, destinations []*destination) (*report, error) {
	want, stored, err := expect(ctx, db, routes)
	if err != nil {
		return nil, err
	}
	statuses, err := db.statuses(ctx)
	if err != nil {
		return nil, err
	}
	letters, err := db.deadLetters(ctx)
	if err != nil {
		return nil, err
	}
	r := &report{
		Published: int(shop.events.Load()), RolledBack: int(shop.rolledBack.Load()),
		Dead: statuses[schema.StatusDead], Skipped: statuses[schema.StatusSkipped],
		Delivered: map[string]int{}, results: map[string]result{}, deadLetters: letters,
		expectedDead: want.dead, expectedSkipped: want.skipped,
		unfinished: statuses[schema.StatusNew] + statuses[schema.StatusFailed],
	}
	// What the outbox has must be what the shop has committed, or nothing that is counted below means much.
	r.Lost, r.Duplicated = max(0, r.Published-stored), max(0, stored-r.Published)
	for _, d := range destinations {
		got := check(want.deliveries[d.name], d.arrivals())
		r.destinations = append(r.destinations, d.name)
		r.results[d.name] = got
		r.Delivered[d.name] = got.received
		r.Lost += got.lost
		r.Duplicated += got.duplicated
		r.OutOfOrder += got.outOfOrder
		delete(want.deliveries, d.name)
	}
	for _, nowhere := range want.deliveries { // to destinations that are not there
		r.Lost += len(nowhere)
	}
	return r, nil
}

// ok tells whether everything that was committed arrived where it should, once and in order, and nowhere else, and only the
// poisoned event is dead.
func (r *report) ok() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.OutOfOrder == 0 && r.unfinished == 0 &&
		r.Skipped == r.expectedSkipped && r.Dead == r.expectedDead
}

func (r *report) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

func (r *report) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "destination\texpected\treceived\tlost\tduplicated\tout of order\t")
	for _, name := range r.destinations {
		got := r.results[name]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", name, got.expected, got.received, got.lost, got.duplicated, got.outOfOrder)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d events committed, %d rolled back, %d skipped because nobody wants them, %d dead:\n",
		r.Published, r.RolledBack, r.Skipped, r.Dead)
	for _, l := range r.deadLetters {
		fmt.Fprintf(w, "  event %s on %s\n    %s\n", l.id, l.topic, l.cause)
	}
	verdict := "OK: nothing was lost, repeated or out of order, and only the poisoned event is dead."
	if !r.ok() {
		verdict = fmt.Sprintf("FAILED: %d lost, %d duplicated, %d out of order, %d dead (expected %d), %d skipped (expected %d), %d not finished.",
			r.Lost, r.Duplicated, r.OutOfOrder, r.Dead, r.expectedDead, r.Skipped, r.expectedSkipped, r.unfinished)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}
