// Package config is the configuration of the outbox command.
//
// [Load] reads it from flags, environment variables and a YAML or JSON file, in this order of precedence, over a profile and the defaults. It reports
// all faults at once. Every setting has one name in three forms: the key batch_size of the file is the flag --batch-size and the variable
// BENTO_OUTBOX_BATCH_SIZE, unless its field says otherwise.
//
// The text "off" switches off what can be off. Its number is [Off], as in the Go packages, where zero means the default.
package config

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

//go:generate go run ./page ../../../../docs/configuration.md

// Config has all settings, in sections. Each field is described by its tags: key is its name in the file; flag and env are the flag and the variable
// if they do not follow from the key; min and max are its bounds; off says what "off" does; secret hides the value.
type Config struct {
	Profile string `key:"profile" oneof:"high_throughput,low_latency" placeholder:"NAME" help:"Start from ready-made values for reading and waiting. Settings given explicitly take precedence."`

	Database
	Forwarding
	Retries
	Destinations
	Cleanup
	Monitoring
	Alerts
}

// Database locates the tables and sets up the connections to them.
type Database struct {
	DatabaseURL      string        `key:"database_url" env:"DATABASE_URL" secret:"url" placeholder:"URL" help:"postgres://user:password@host/database, sqlite:path or sqlite:///path. Use a variable or a file to keep the password out of the process list."`
	TablePrefix      string        `key:"table_prefix" placeholder:"NAME" help:"Prefix of the table names."`
	Schema           string        `key:"schema" placeholder:"NAME" help:"PostgreSQL schema of the tables. Defaults to the first schema of the search_path."`
	PoolSize         int           `key:"connection_pool_size" min:"1" max:"1000" help:"Connections kept open."`
	PoolOverflow     int           `key:"connection_pool_overflow" min:"0" max:"1000" help:"Extra connections to open while all others are in use. A forwarder needs up to six connections."`
	PoolRecycle      time.Duration `key:"connection_recycle" min:"0s" off:"keeps them" help:"Replace connections of this age."`
	PoolPing         bool          `key:"connection_ping" help:"Check that a PostgreSQL connection is alive before using it, if it was idle for a second."`
	StatementTimeout time.Duration `key:"statement_timeout" min:"0s" off:"keeps the server's setting" help:"PostgreSQL's own time limit for each of the forwarder's statements. Not set through PgBouncer."`
	JIT              bool          `key:"jit" help:"Let PostgreSQL compile queries. The forwarder's queries are too short to benefit. Not set through PgBouncer."`
	QueryTimeout     time.Duration `key:"query_timeout" env:"BENTO_OUTBOX_QUERY_TIMEOUT_SECONDS" min:"100ms" help:"Time limit for each database operation."`
}

// Forwarding says what a forwarder reads and how it delivers.
type Forwarding struct {
	Group          string        `key:"group" placeholder:"NAME" help:"Group of this forwarder. Forwarders of one group share the work."`
	Tenants        []string      `key:"tenants" placeholder:"ID" help:"Forward only events of these tenants."`
	Topics         []string      `key:"topics" placeholder:"TOPIC" help:"Forward only events of these topics."`
	BatchSize      int           `key:"batch_size" min:"1" max:"100000" help:"Maximum number of events per read."`
	MaxConcurrent  int           `key:"max_concurrent" env:"BENTO_OUTBOX_MAX_CONCURRENT_PROJECTORS" min:"1" max:"100000" help:"Maximum number of events in flight, at most one per ordering key."`
	SettleBatch    int           `key:"batch_commit_size" min:"1" max:"100000" help:"Maximum number of outcomes per write."`
	SettleDelay    time.Duration `key:"settle_delay" min:"1us" help:"How long an outcome waits for others to be written with it."`
	SleepBusy      time.Duration `key:"sleep_busy" min:"1us" help:"Wait after a read that emptied the backlog."`
	SleepIdle      time.Duration `key:"sleep_idle" min:"1us" help:"Wait after a read that found nothing. It grows up to sleep_idle_max."`
	SleepIdleMax   time.Duration `key:"sleep_idle_max" min:"1us" help:"Longest wait between two reads. Must not be less than sleep_idle; the default grows with it."`
	Listen         bool          `key:"listen" help:"Wake up on notifications from publishers that send them. Needs PostgreSQL and one more connection. Does not work through PgBouncer in transaction mode."`
	SweepInterval  time.Duration `key:"sweep_interval" min:"1ms" help:"How often to read all pending work again, in case something was missed."`
	Lease          time.Duration `key:"lease" min:"1s" help:"How long the share of a forwarder that died stays unserved."`
	PublishTimeout time.Duration `key:"publish_timeout" min:"100ms" default:"10s, or a third of lease" help:"Time limit for publishing one message. Must be less than half of lease."`
	CloseTimeout   time.Duration `key:"close_timeout" min:"100ms" help:"How long a stopping forwarder waits for deliveries in flight. Must not be less than publish_timeout; the default grows with it."`
	Unordered      bool          `key:"unordered" help:"Deliver events as they become ready, ignoring ordering keys."`
}

// Retries defines the retry policies.
type Retries struct {
	MaxAttempts     int               `key:"max_retry_attempts" min:"1" max:"1000" help:"Attempts of the default retry policy."`
	ErrorRetryDelay time.Duration     `key:"error_retry_delay" min:"1ms" help:"Wait after the first attempt of the default retry policy. It doubles with each attempt, up to 5m."`
	Policies        map[string]string `key:"policies" flag:"policy" placeholder:"NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX" help:"Define a retry policy, such as slow=3,1m,2,1h. Repeat the flag to define several."`

	RetryPolicies map[string]middleware.RetryPolicy // what [Load] makes of these settings; no setting itself
}

// Destinations says where events go and when a destination counts as unreachable.
type Destinations struct {
	To                 string            `key:"to" secret:"url" placeholder:"URL" help:"Destination of events that name none, such as console://stdout, kafka://host:9092 or redis://host:6379. Short for a destination named default."`
	ByName             map[string]string `key:"destinations" flag:"destination" secret:"url" placeholder:"NAME=URL" help:"A destination that events address as NAME://topic. Events that name none go to the one named default, or to the only one. Repeat the flag for several."`
	RedisURL           string            `key:"redis_url" env:"REDIS_URL" secret:"url" placeholder:"URL" help:"Short for a destination named redis."`
	DefaultDestination string            `key:"default_destination" placeholder:"NAME" help:"Destination of events that name none, if it is not the one named default."`
	PoisonDestination  string            `key:"poison_destination" off:"disables it" placeholder:"NAME://TOPIC" help:"Also publish dead events here."`
	Routes             string            `key:"routes" off:"disables it" placeholder:"FILE" help:"Routes file, in YAML or JSON, for events without a routing config of their own. Reloaded when it changes and on SIGHUP."`
	AllowWhenPerEvent  bool              `key:"allow_when_per_event" help:"Allow when in the routing configs of events. Enable it only if you trust every publisher."`
	BreakerFailures    int               `key:"breaker_failures" min:"1" max:"1000" help:"Open a circuit breaker after this many consecutive failures that are the fault of the destination. An open breaker lets only probes through."`
	BreakerProbe       time.Duration     `key:"breaker_probe" min:"1ms" help:"Wait between two probes."`
}

// Cleanup says when finished events are deleted. By default they are kept: see docs/operations.md for why.
type Cleanup struct {
	CleanupOn        bool          `key:"cleanup" help:"Delete old finished events daily, or as cleanup_at or cleanup_every says; setting either enables this too. One forwarder of all replicas does it. False disables it, unless a source of higher precedence sets a time."`
	CleanupAt        string        `key:"cleanup_at" placeholder:"TIME" default:"02:00, with cleanup" help:"Time of day, in local time, of the daily clean-up."`
	CleanupEvery     time.Duration `key:"cleanup_every" min:"0s" off:"disables it" help:"Interval between clean-ups, instead of a time of day."`
	Retention        time.Duration `key:"retention" min:"1s" off:"keeps them forever" help:"How long to keep sent events."`
	SkippedRetention time.Duration `key:"skipped_retention" min:"1s" off:"keeps them forever" default:"retention" help:"How long to keep skipped events."`
	DeadRetention    time.Duration `key:"dead_retention" min:"0s" off:"keeps them forever" help:"How long to keep dead events."`
	CleanupBatch     int           `key:"cleanup_batch_size" min:"1" max:"100000" help:"Events to examine per clean-up transaction."`
}

// Monitoring says what a forwarder shows of itself.
type Monitoring struct {
	MetricsPort string   `key:"metrics_port" env:"METRICS_PORT" off:"serves nothing" placeholder:"PORT" help:"Serve the status page, /healthz, /readyz and /metrics on this port of 127.0.0.1, or on host:port."`
	Performance bool     `key:"enable_performance_monitoring" help:"With metrics_port, measure the forwarder, serve /metrics and the status page, and log alerts."`
	StatusHosts []string `key:"status_hosts" placeholder:"NAME" help:"Host names, besides localhost, IP addresses and the host of metrics_port, under which browsers may open the status page. Others are refused, as a defense against DNS rebinding; * allows any."`
	ActionToken string   `key:"action_token" off:"disables these actions" secret:"value" placeholder:"TOKEN" help:"Token that users of the status page enter to replay, discard, pause and resume; at least 16 bytes. Use a variable or a file to keep it out of the process list."`
	LogLevel    string   `key:"log_level" env:"LOG_LEVEL" oneof:"trace,debug,info,warn,error" placeholder:"LEVEL" help:"Least severe level to log. Logs go to standard error."`
	LogFormat   string   `key:"log_format" env:"LOG_FORMAT" oneof:"text,json" placeholder:"FORMAT" help:"Format of log lines."`
}

// Default returns a Config with every default. It lacks a database and a destination.
func Default() Config {
	c := Config{
		Database: Database{
			TablePrefix: "outbox",
			PoolSize:    10, PoolOverflow: 10, PoolRecycle: 30 * time.Minute, PoolPing: true, StatementTimeout: time.Minute,
		},
		Retries:      Retries{MaxAttempts: 5, ErrorRetryDelay: time.Second},
		Destinations: Destinations{BreakerFailures: 5, BreakerProbe: 2 * time.Second},
		Cleanup:      Cleanup{CleanupEvery: Off, Retention: 7 * 24 * time.Hour, DeadRetention: Off, CleanupBatch: 5000},
		Monitoring:   Monitoring{Performance: true, LogLevel: "info", LogFormat: "text"},
	}
	c.Alerts = Alerts(monitor.DefaultThresholds())
	c.take(forwarder.Defaults())
	return c
}
