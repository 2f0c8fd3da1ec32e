package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrMissing is wrapped by the error of [StartServers] when a program is not installed.
var ErrMissing = errors.New("not installed")

// Servers are the servers of an audit, on private ports, in a directory of their own.
type Servers struct {
	Postgres, Kafka, Redis *server
	// Embedded says why Kafka is the embedded stand-in; empty when it is the real one.
	Embedded string

	dir        string
	kafkaFront *Relay // what Kafka tells its clients to connect to
}

// server is a server that can be stopped and started again with its data.
type server struct {
	name    string
	addr    string
	log     string
	command func() (*exec.Cmd, error)
	ready   func(ctx context.Context) error
	quit    syscall.Signal
	process *process
}

// StartServers starts PostgreSQL, Redis and Kafka below dir, which must be empty. Where Kafka's jars are not there the embedded stand-in takes
// its place.
func StartServers(ctx context.Context, dir string) (_ *Servers, err error) {
	s := &Servers{dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if s.Postgres, err = newPostgres(dir); err != nil {
		return nil, err
	}
	if s.Redis, err = newRedis(dir); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if s.kafkaFront, err = NewRelay(addr); err != nil {
		return nil, err
	}
	lib, reason := kafkaLib()
	if lib == "" {
		s.Embedded = reason
		s.Kafka = newKfake(dir, addr, s.kafkaFront.Addr)
	} else if s.Kafka, err = newKafka(dir, lib, addr, s.kafkaFront.Addr); err != nil {
		return nil, err
	}
	for _, x := range []*server{s.Postgres, s.Redis, s.Kafka} {
		if err := x.start(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close ends the servers.
func (s *Servers) Close() {
	for _, x := range []*server{s.Kafka, s.Redis, s.Postgres} {
		if x != nil && x.process != nil {
			x.process.stop(x.quit, 20*time.Second)
		}
	}
	if s.kafkaFront != nil {
		s.kafkaFront.Close()
	}
}

// KafkaName tells which Kafka it is.
func (s *Servers) KafkaName() string {
	if s.Embedded != "" {
		return "kfake (embedded stand-in: " + s.Embedded + ")"
	}
	return "Apache Kafka " + kafkaVersion(s.Kafka)
}

func (s *server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	cmd, err := s.command()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if s.process, err = spawn(s.name, s.log, cmd); err != nil {
		return err
	}
	err = until(ctx, func() bool {
		try, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return s.process.ended() || s.ready(try) == nil
	})
	if s.process.ended() {
		err = errors.New("it ended at once")
	}
	if err != nil {
		return fmt.Errorf("%s does not start: %w\n%s", s.name, err, tail(s.log, 20))
	}
	return nil
}

func (s *server) stop(sig syscall.Signal) {
	s.process.stop(sig, 20*time.Second)
}

func newPostgres(dir string) (*server, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		bins = append(bins, path)
	}
	if len(bins) == 0 {
		return nil, fmt.Errorf("PostgreSQL: %w", ErrMissing)
	}
	bin := filepath.Dir(slices.MaxFunc(bins, func(a, b string) int { return len(a)*100 + strings.Compare(a, b) - len(b)*100 }))
	attr := &syscall.SysProcAttr{}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(data, uid, gid); err != nil {
			return nil, err
		}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale") //nolint:noctx // seconds
	initdb.Dir, initdb.SysProcAttr = data, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	s := &server{name: "postgres", addr: addr, log: filepath.Join(dir, "postgres.log"), quit: syscall.SIGINT}
	s.command = func() (*exec.Cmd, error) {
		cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", //nolint:noctx // ended by its process
			"-c", "unix_socket_directories=", "-c", "max_connections=300", "-c", "max_prepared_transactions=50", "-c", "timezone=UTC")
		copied := *attr
		cmd.Dir, cmd.SysProcAttr = data, &copied
		return cmd, nil
	}
	s.ready = func(ctx context.Context) error {
		db, err := sql.Open("pgx", s.postgresURL("postgres"))
		if err != nil {
			return err
		}
		defer db.Close()
		return db.PingContext(ctx)
	}
	return s, nil
}

func (s *server) postgresURL(database string) string { return postgresURL(s.addr, database) }

func postgresURL(addr, database string) string {
	return "postgres://postgres@" + addr + "/" + database + "?sslmode=disable&connect_timeout=5"
}

func newRedis(dir string) (*server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("Redis: %w", ErrMissing)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	data := filepath.Join(dir, "redis")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	s := &server{name: "redis", addr: addr, log: filepath.Join(dir, "redis.log"), quit: syscall.SIGTERM}
	s.command = func() (*exec.Cmd, error) {
		// Every answer comes after an fsync, so that what was acknowledged outlives a kill.
		return exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "", "--appendonly", "yes", //nolint:noctx // ended by its process
			"--appendfsync", "always"), nil
	}
	s.ready = func(ctx context.Context) error {
		c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
		defer c.Close()
		return c.Ping(ctx).Err()
	}
	return s, nil
}

// newKafka returns a node whose clients are told to come through front.
func newKafka(dir, lib, addr, front string) (*server, error) {
	inner, err := freeAddr()
	if err != nil {
		return nil, err
	}
	controller, err := freeAddr()
	if err != nil {
		return nil, err
	}
	data, config := filepath.Join(dir, "kafka"), filepath.Join(dir, "kafka.properties")
	// A kill of the process loses nothing that was acknowledged: it is in the kernel's page cache.
	text := strings.Join([]string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
		"listeners=INNER://" + inner + ",FRONT://" + addr + ",CONTROLLER://" + controller,
		"advertised.listeners=INNER://" + inner + ",FRONT://" + front,
		"listener.security.protocol.map=INNER:PLAINTEXT,FRONT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=INNER", "controller.listener.names=CONTROLLER", "log.dirs=" + data, "num.partitions=4",
		"log.message.timestamp.type=LogAppendTime", "broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500", "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=1",
	}, "\n")
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
	s := &server{name: "kafka", addr: inner, log: filepath.Join(dir, "kafka.log"), quit: syscall.SIGTERM}
	s.command = func() (*exec.Cmd, error) {
		cmd := exec.Command("java", append(java, "-Dorg.slf4j.simpleLogger.showDateTime=true", //nolint:noctx // ended by its process
			"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-Doutbox.version="+filepath.Base(lib), "kafka.Kafka", config)...)
		cmd.Dir = dir
		return cmd, nil
	}
	s.ready = func(ctx context.Context) error { return kafkaAnswers(ctx, inner) }
	return s, nil
}

func kafkaVersion(s *server) string {
	cmd, _ := s.command()
	for _, arg := range cmd.Args {
		if version, ok := strings.CutPrefix(arg, "-Doutbox.version="); ok {
			return version
		}
	}
	return ""
}

func kafkaAnswers(ctx context.Context, addr string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

// kafkaLib returns the directory of Kafka's jars, or "" and why there is none.
func kafkaLib() (lib, reason string) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err.Error()
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		script := filepath.Join(dir, "scripts", "kafka-lib")
		if _, err := os.Stat(script); err != nil {
			continue
		}
		out, err := exec.Command(script, "--offline").Output() //nolint:noctx // at once
		if err != nil {
			return "", "no Java, or scripts/kafka-lib was not run"
		}
		return strings.TrimSpace(string(out)), ""
	}
	return "", "there is no scripts/kafka-lib above the working directory"
}
