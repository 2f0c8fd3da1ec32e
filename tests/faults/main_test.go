package faults_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/tests/faults"
)

func TestMain(m *testing.M) {
	faults.Child()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.Exit(code) }))
}
