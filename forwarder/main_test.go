package forwarder

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// checksGiven tells whether the command line says how often properties are checked.
var checksGiven bool

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { checksGiven = checksGiven || f.Name == "rapid.checks" })
	if !checksGiven {
		_ = flag.Set("rapid.checks", "20000") // cheap for most
	}
	// A Router whose subscriber refuses leaves this goroutine behind.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/message.(*Router).watchAllHandlersStopped.func1"))
}
