package forwarder

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "20000") // cheap here; the command line has the last word
	goleak.VerifyTestMain(m)
}
