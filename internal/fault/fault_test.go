package fault_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

type slow struct{ error }

func (slow) Timeout() bool { return true }

type notDown struct{ error }

func (notDown) Unavailable() bool { return false }
func (e notDown) Unwrap() error   { return e.error }

func TestOf(t *testing.T) {
	t.Parallel()
	any := errors.New("x")
	down := fault.Fault{Kind: fault.Destination}
	severed := fault.Fault{Kind: fault.Destination, Suspect: true}
	op := func(op string, err error) error { return &net.OpError{Op: op, Err: err} }
	for name, test := range map[string]struct {
		err  error
		want fault.Fault
	}{
		"nil":                         {nil, fault.Fault{}},
		"any":                         {any, fault.Fault{}},
		"cancelled":                   {context.Canceled, fault.Fault{}},
		"permanent":                   {fmt.Errorf("a: %w", fault.Permanent(any)), fault.Fault{Kind: fault.Message}},
		"unavailable":                 {fmt.Errorf("a: %w", fault.Unavailable(any, false, false)), down},
		"topic":                       {fault.Unavailable(any, true, true), fault.Fault{Kind: fault.Destination, TopicOnly: true, Suspect: true}},
		"joined":                      {errors.Join(any, fault.Unavailable(any, false, false)), down},
		"the outermost counts":        {fault.Permanent(fault.Unavailable(any, false, false)), fault.Fault{Kind: fault.Message}},
		"and not what it wraps":       {fault.Unavailable(fault.Permanent(any), false, false), down},
		"says no, wraps one that is":  {notDown{fault.Unavailable(any, false, false)}, down},
		"a mark beats a guess":        {fault.Permanent(op("dial", syscall.ECONNREFUSED)), fault.Fault{Kind: fault.Message}},
		"deadline":                    {fmt.Errorf("a: %w", context.DeadlineExceeded), fault.Fault{Kind: fault.Silent}},
		"timeout":                     {slow{any}, fault.Fault{Kind: fault.Silent}},
		"read that timed out":         {op("read", os.ErrDeadlineExceeded), fault.Fault{Kind: fault.Silent}},
		"dial that timed out":         {op("dial", os.ErrDeadlineExceeded), down},
		"refused":                     {op("dial", syscall.ECONNREFUSED), down},
		"refused, bare":               {syscall.ECONNREFUSED, down},
		"name":                        {&net.DNSError{Err: "no such host", IsNotFound: true}, down},
		"resolver that timed out":     {&net.DNSError{IsTimeout: true}, down},
		"certificate":                 {&tls.CertificateVerificationError{Err: any}, down},
		"no TLS":                      {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, down},
		"refuses the certificate":     {op("remote error", any), down},
		"reset":                       {op("read", syscall.ECONNRESET), severed},
		"pipe":                        {op("write", syscall.EPIPE), severed},
		"end":                         {io.EOF, severed},
		"end in the middle":           {io.ErrUnexpectedEOF, severed},
		"a text that only sounds so":  {errors.New("connection refused"), fault.Fault{}},
		"permanent that says no":      {permanentNot{}, fault.Fault{}},
		"joined with what is unknown": {errors.Join(any, io.EOF), severed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, fault.Of(test.err))
			require.Equal(t, test.want.Kind == fault.Message, fault.IsPermanent(test.err))
		})
	}
}

type permanentNot struct{}

func (permanentNot) Error() string   { return "x" }
func (permanentNot) Permanent() bool { return false }
