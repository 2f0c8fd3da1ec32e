// Package await is how tests wait: long if they must, and no longer than they need to.
package await

import (
	"fmt"
	"testing"
	"time"
)

// Patience is how long a condition may take to come true. It is far above what any takes on a busy machine, for only a test that fails spends it.
const Patience = 2 * time.Minute

// That waits until cond reports true, and fails the test if it has not within [Patience]. The arguments after cond say what was waited for; the
// first is a format.
//
// Asking takes at most a third of the time, so that a condition that is expensive to check does not keep the machine from making it true.
func That(t testing.TB, cond func() bool, format ...any) {
	t.Helper()
	for begun := time.Now(); ; {
		asked := time.Now()
		if cond() {
			return
		}
		now := time.Now()
		if now.Sub(begun) > Patience {
			if len(format) == 0 {
				format = []any{"it did not come true"}
			}
			t.Fatalf("not within %s: %s", Patience, fmt.Sprintf(format[0].(string), format[1:]...)) //nolint:forcetypeassert // by contract
		}
		<-time.After(max(time.Millisecond, 2*now.Sub(asked)))
	}
}

// Later is a text that is asked for when a wait has failed: await.That(t, ready, "its log:\n%s", await.Later(p.logs)).
type Later func() string

// String returns the text as it is now.
func (l Later) String() string { return l() }
