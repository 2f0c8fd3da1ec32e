package faults

import (
	"context"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// newKfake returns the embedded stand-in for Kafka, in a process of its own. It keeps its records when it is stopped, and when it is killed.
func newKfake(dir, addr, front string) (*testserver.Server, error) {
	role := assignment{Role: "kafka", Dir: filepath.Join(dir, "data"), Listen: addr, Advertise: front}
	if _, err := selfCommand(role); err != nil {
		return nil, err
	}
	command := func() *exec.Cmd {
		cmd, _ := selfCommand(role)
		return cmd
	}
	return testserver.Program("kfake", addr, dir, command, func(ctx context.Context) error { return kafkaAnswers(ctx, addr) }), nil
}

func embedKafka(a assignment) error {
	_, text, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	front, err := net.ResolveTCPAddr("tcp", a.Advertise)
	if err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(a.Dir), kfake.SyncWrites(), kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(4), kfake.ListenFn(func(network, address string) (net.Listener, error) {
			ln, err := net.Listen(network, address) //nolint:noctx // ends with the process
			return advertised{ln, front}, err
		}))
	if err != nil {
		return err
	}
	defer cluster.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	<-ctx.Done()
	return nil
}

// advertised is a listener that says it had another address, which is what the broker tells its clients.
type advertised struct {
	net.Listener
	addr net.Addr
}

func (a advertised) Addr() net.Addr { return a.addr }
