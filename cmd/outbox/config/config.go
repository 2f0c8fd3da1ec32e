// Package config is the configuration of the outbox command, and of applications that want to be configured as it is.
//
// [Default] is a [Config] to change in code. [Load] reads one from flags, environment variables and a YAML file, in this order of precedence,
// over a profile and the defaults, and reports all that is wrong at once. Every setting has one name in three forms: the key batch_size of
// the file is the flag --batch-size and the variable BENTO_OUTBOX_BATCH_SIZE, where its field says nothing else.
package config

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

//go:generate go run ./page ../../../docs/configuration.md

// Config has all settings, in sections. A field's tags are its documentation: key is its name in the file, env the variable where it has not the
// usual name, min and max its bounds, secret that it is never shown.
type Config struct {
	Profile string `key:"profile" oneof:"high_throughput,low_latency" placeholder:"NAME" help:"Ready values of the settings for reading and waiting; what is set besides wins."`

	Database
	Forwarding
	Retries
	Destinations
	Publishing
	Cleanup
	Monitoring
	Alerts
}

// Database says where the tables are, and how they are reached.
type Database struct {
	DatabaseURL      string        `key:"database_url" env:"DATABASE_URL" secret:"url" placeholder:"URL" help:"postgres://user:password@host/database, sqlite:path or sqlite:///path. A variable or a file keeps the password out of the list of processes."`
	TablePrefix      string        `key:"table_prefix" placeholder:"NAME" help:"What the names of the tables start with."`
	Schema           string        `key:"schema" placeholder:"NAME" help:"PostgreSQL schema of the tables; by default the first of the search_path."`
	PoolSize         int           `key:"connection_pool_size" min:"1" max:"1000" help:"Connections that stay open."`
	PoolOverflow     int           `key:"connection_pool_overflow" min:"0" max:"1000" help:"Connections opened besides while all are in use. A forwarder needs up to six."`
	PoolRecycle      time.Duration `key:"connection_recycle" min:"0s" help:"Age at which a connection is replaced; 0s for never."`
	PoolPing         bool          `key:"connection_ping" help:"Ask a PostgreSQL connection that was idle for a second whether it is alive before it is used."`
	StatementTimeout time.Duration `key:"statement_timeout" min:"0s" help:"When PostgreSQL gives a statement of the forwarder up by itself; 0s for what the server has. Not set through PgBouncer."`
	JIT              bool          `key:"jit" help:"Let PostgreSQL compile queries. The forwarder's are too short for it to pay. Not set through PgBouncer."`
	QueryTimeout     time.Duration `key:"query_timeout" env:"BENTO_OUTBOX_QUERY_TIMEOUT_SECONDS" min:"100ms" help:"How long the forwarder waits for a database operation."`
}

// Forwarding says what a forwarder reads, and how.
type Forwarding struct {
	Group          string        `key:"group" placeholder:"NAME" help:"Forwarders of one group share the work."`
	Tenants        []string      `key:"tenants" placeholder:"ID" help:"Forward events of these tenants only."`
	Topics         []string      `key:"topics" placeholder:"TOPIC" help:"Forward events of these topics only."`
	BatchSize      int           `key:"batch_size" min:"1" max:"100000" help:"Events read at once."`
	MaxConcurrent  int           `key:"max_concurrent" env:"BENTO_OUTBOX_MAX_CONCURRENT_PROJECTORS" min:"1" max:"100000" help:"Events in flight; of an ordering key at most one is."`
	SettleBatch    int           `key:"batch_commit_size" min:"1" max:"100000" help:"Outcomes written at once."`
	SettleDelay    time.Duration `key:"settle_delay" min:"1us" help:"How long a first outcome waits for others."`
	SleepBusy      time.Duration `key:"sleep_busy" min:"1us" help:"Wait after a read that found something and left nothing."`
	SleepIdle      time.Duration `key:"sleep_idle" min:"1us" help:"Wait after a read that found nothing; it grows."`
	SleepIdleMax   time.Duration `key:"sleep_idle_max" min:"1us" help:"What it grows to. At least sleep_idle, which raises it."`
	Listen         bool          `key:"listen" help:"Wake up by the notifications of publishers that send them. Needs PostgreSQL and a connection more; not through PgBouncer in transaction mode."`
	SweepInterval  time.Duration `key:"sweep_interval" min:"1ms" help:"How often all pending work is read again, in case something was missed."`
	Lease          time.Duration `key:"lease" min:"1s" help:"How long the share of a forwarder that died waits for others."`
	PublishTimeout time.Duration `key:"publish_timeout" min:"100ms" default:"10s, or a third of lease" help:"Bounds the publishing of one message. Less than half of lease."`
	CloseTimeout   time.Duration `key:"close_timeout" min:"100ms" help:"How long a forwarder that stops waits for what is in flight. At least publish_timeout, which raises it while this is not set."`
	Unordered      bool          `key:"unordered" help:"Drop the order of ordering keys."`
}

// Retries says how often a delivery is tried.
type Retries struct {
	MaxAttempts     int               `key:"max_retry_attempts" min:"1" max:"1000" help:"Attempts of the retry policy named default."`
	ErrorRetryDelay time.Duration     `key:"error_retry_delay" min:"1ms" help:"Wait after the first attempt of the retry policy named default; it doubles up to 5m."`
	Policies        map[string]string `key:"policies" flag:"policy" placeholder:"NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX" help:"Retry policies of your own, such as slow=3,1m,2,1h. A flag is repeated for several."`
}

// Destinations says where events go.
type Destinations struct {
	To                 string            `key:"to" secret:"url" placeholder:"URL" help:"Where events go that name no destination, such as console://stdout, kafka://host:9092 or redis://host:6379. The same as a destination named default."`
	ByName             map[string]string `key:"destinations" flag:"destination" secret:"url" placeholder:"NAME=URL" help:"Destinations that events name as NAME://topic. The one named default gets what names none, or the only one."`
	RedisURL           string            `key:"redis_url" env:"REDIS_URL" secret:"url" placeholder:"URL" help:"The same as a destination named redis."`
	DefaultDestination string            `key:"default_destination" placeholder:"NAME" help:"The destination that gets what names none, where it is not named default."`
	PoisonDestination  string            `key:"poison_destination" placeholder:"NAME://TOPIC" help:"Where dead events are published as well."`
	Routes             string            `key:"routes" placeholder:"FILE" help:"A routes file, YAML or JSON, for events that carry no routing of their own. Read again when it changes, and on SIGHUP."`
	AllowWhenPerEvent  bool              `key:"allow_when_per_event" help:"Allow when in the routing that events carry. Only where you trust whoever publishes."`
	BreakerFailures    int               `key:"breaker_failures" min:"1" max:"1000" help:"How many failures in a row, of those that are the destination's, open a circuit breaker: then it only gets probes."`
	BreakerProbe       time.Duration     `key:"breaker_probe" min:"1ms" help:"Wait between two probes."`
}

// Publishing is for applications that publish: see [Config.Publisher].
type Publishing struct {
	DefaultTenantID string `key:"default_tenant_id" placeholder:"ID" help:"Tenant of messages that name none, for applications that publish by this configuration. outbox run publishes nothing."`
}

// Cleanup says when finished events are removed. Nothing is by default: see docs/operations.md for why.
type Cleanup struct {
	CleanupOn        bool          `key:"cleanup" help:"Remove old finished events, at cleanup_at or cleanup_every; setting one of these switches it on as well, and false off, but for a time of a later source: a flag goes before a variable, and that before the file. One of several forwarders does it."`
	CleanupAt        string        `key:"cleanup_at" placeholder:"TIME" default:"02:00, with cleanup" help:"Time of day, local, at which they are removed."`
	CleanupEvery     time.Duration `key:"cleanup_every" min:"0s" help:"How often they are removed, instead; 0s for at a time of day."`
	Retention        time.Duration `key:"retention" min:"1s" help:"How long events are kept that were sent."`
	SkippedRetention time.Duration `key:"skipped_retention" min:"0s" help:"How long events are kept that were skipped; 0s for as long as those that were sent."`
	DeadRetention    time.Duration `key:"dead_retention" min:"0s" help:"How long dead events are kept; 0s for ever."`
	CleanupBatch     int           `key:"cleanup_batch_size" min:"1" max:"100000" help:"Events that one transaction of a clean-up looks at."`
}

// Monitoring says what can be seen of a forwarder.
type Monitoring struct {
	MetricsPort string   `key:"metrics_port" env:"METRICS_PORT" placeholder:"PORT" help:"Port, on 127.0.0.1, or host:port of the status page, /healthz, /readyz and /metrics over HTTP. Nothing is served without."`
	Performance bool     `key:"enable_performance_monitoring" help:"Measure what the forwarder does, serve /metrics and the status page, and log alerts, where metrics_port is set."`
	StatusHosts []string `key:"status_hosts" placeholder:"NAME" help:"Host names by which browsers reach the status page, besides localhost, addresses in digits and the host of metrics_port. It answers to no other, so that no web site can make its own name one of this machine; * is any."`
	ActionToken string   `key:"action_token" secret:"value" placeholder:"TOKEN" help:"What people enter on the status page to replay, discard, pause and resume, at least 16 bytes; without one nobody can. A variable or a file keeps it out of the list of processes."`
	LogLevel    string   `key:"log_level" env:"LOG_LEVEL" oneof:"trace,debug,info,warn,error" placeholder:"LEVEL" help:"Logs go to the standard error."`
	LogFormat   string   `key:"log_format" env:"LOG_FORMAT" oneof:"text,json" placeholder:"FORMAT" help:"How a line of the log is written."`
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
		Cleanup:      Cleanup{Retention: 7 * 24 * time.Hour, CleanupBatch: 5000},
		Monitoring:   Monitoring{Performance: true, LogLevel: "info", LogFormat: "text"},
	}
	c.Alerts = newAlerts(monitor.DefaultThresholds())
	c.take(forwarder.Defaults())
	c.PublishTimeout = 0 // goes by the lease
	return c
}
