package monitor

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Bounds of what data may put into a scrape. Names come with events, and whoever makes them up must not fill memory with them.
const (
	// MaxLabelValues is how many values of a label that comes from data a metric of a forwarder has, and outbox_unreachable; what comes later
	// counts as [Others]. Of what is in the database, Config.Top are named.
	MaxLabelValues = 200
	// MaxLabelLength is the length that such a value is cut to, in bytes. What is cut ends in a hash of the whole.
	MaxLabelLength = 80
)

// label is a name as the label of a metric.
func label(name string) string { return cut(name, MaxLabelLength) }

// printable is a name as JSON and pages can have it. It is whole, unless an older table let it be longer than names may be now.
func printable(name string) string { return cut(name, store.MaxTarget) }

func cut(name string, limit int) string {
	if len(name) <= limit {
		return strings.ToValidUTF8(name, "\uFFFD")
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	tail := fmt.Sprintf("...%016x", h.Sum64())
	return strings.ToValidUTF8(name[:limit-len(tail)], "") + tail
}
