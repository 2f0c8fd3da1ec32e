package testserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Front is a second port of a Kafka server: clients that connect to Listen are told to connect to Advertise, a relay in front of it.
type Front struct{ Listen, Advertise string }

// Kafka returns a node of Apache Kafka, broker and controller in one, with its data in dir. Settings have the form name=value. ErrMissing says that Java
// or the jars, which scripts/kafka-lib gets, are not there.
func Kafka(dir string, front *Front, settings ...string) (*Server, error) {
	lib, err := kafkaLib()
	if err != nil {
		return nil, err
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	controller, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	if front == nil {
		front = &Front{}
		if front.Listen, err = FreeAddr(); err != nil {
			return nil, err
		}
		front.Advertise = front.Listen
	}
	config := filepath.Join(dir, "kafka.properties")
	text := strings.Join(append([]string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
		"listeners=INNER://" + addr + ",FRONT://" + front.Listen + ",CONTROLLER://" + controller,
		"advertised.listeners=INNER://" + addr + ",FRONT://" + front.Advertise,
		"listener.security.protocol.map=INNER:PLAINTEXT,FRONT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=INNER", "controller.listener.names=CONTROLLER", "log.dirs=" + filepath.Join(dir, "data"),
		"num.partitions=4", "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1",
		"transaction.state.log.num.partitions=1", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, settings...), "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	java := []string{"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", lib + "/*"}
	format := exec.Command("java", append(java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.tools.StorageTool", //nolint:noctx // seconds
		"format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config)...)
	format.Dir = dir
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	s := &Server{Name: "kafka", Version: filepath.Base(lib), Addr: addr, Dir: dir, URL: "kafka://" + addr, quit: syscall.SIGTERM}
	s.command = func() *exec.Cmd {
		cmd := exec.Command("java", append(java, "-Dorg.slf4j.simpleLogger.showDateTime=true", //nolint:noctx // ended by a signal
			"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "kafka.Kafka", config)...)
		cmd.Dir = dir
		return cmd
	}
	s.ready = func(ctx context.Context) error { return kafkaAnswers(ctx, addr) }
	return s, nil
}

// kafkaAnswers asks for the brokers of the cluster, in the protocol's own bytes: the port opens long before the broker is one of them.
func kafkaAnswers(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	// Metadata, version 1: length, key, version, correlation id, no client id, no topics.
	if _, err := conn.Write([]byte{0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}); err != nil {
		return err
	}
	answer := make([]byte, 12) // length, correlation id, number of brokers
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(answer[8:]) == 0 {
		return errors.New("the cluster has no brokers yet")
	}
	return nil
}

// kafkaLib returns the directory of Kafka's jars.
func kafkaLib() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(filepath.Join(root, "scripts", "kafka-lib"), "--offline").Output() //nolint:noctx // at once
	if err != nil {
		return "", fmt.Errorf("no Java, or scripts/kafka-lib was not run: %w", ErrMissing)
	}
	return string(bytes.TrimSpace(out)), nil
}

// Root returns the directory of the repository that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "scripts", "kafka-lib")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not in the repository")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
