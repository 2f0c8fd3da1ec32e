package monitor

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Bounds of label values that come from events, which must not fill the memory of the process or of Prometheus.
const (
	// maxLabelValues is the number of values of a label that comes from events, in the metrics of a forwarder and in outbox_unreachable; further ones
	// count as [Others]. Of what is in the database, [Config.Top] are named.
	maxLabelValues = 200
	// maxLabelLength is the length in bytes that such a value is cut to. A cut value ends in a hash of the whole.
	maxLabelLength = 80
)

// label returns a name as the label of a metric.
func label(name string) string { return cut(name, maxLabelLength) }

// printable returns a name as JSON and pages can show it. It is cut only if an older table let it be longer than names may be now.
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
