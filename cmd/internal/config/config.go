// Package config reads how Astray is to run: a YAML file, environment variables over it, and secrets from files of
// their own. It knows every key, and names each key and value that is wrong with its place.
//
// A key "kafka.brokers" is overridden by the variable ASTRAY_KAFKA_BROKERS. Passwords and tokens never stand in
// the file: a key that ends in _file names a file that holds one, and ASTRAY_KAFKA_SASL_PASSWORD works as well.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/triage"
)

// Config is everything that can be set. Fields names the keys and what they mean.
type Config struct {
	Kafka       Kafka
	ClickHouse  ClickHouse
	Detect      Detect
	Pipeline    Pipeline
	Triage      Triage
	DeadLetters DeadLetters
	HTTP        HTTP
	Receive     Receive
	Log         Log
	// FingerprintKey keys the fingerprints that stand for secrets; empty: the key that is the same everywhere.
	FingerprintKey []byte

	fingerprintKeyFile, fingerprintKey string
}

// Kafka is the broker and the topics.
type Kafka struct {
	Brokers                               []string
	ClientID, Group                       string
	Topic, AlertsTopic, DeadLettersTopic  string
	LinksTopic                            string
	LinkPartitions                        int
	Partitions, Replicas                  int
	Reset                                 string
	SessionTimeout                        time.Duration
	FetchMaxBytes                         int64
	TLS                                   bool
	CAFile, CertFile, KeyFile, ServerName string
	Mechanism, User, Password             string

	passwordFile string
}

// ClickHouse is the database.
type ClickHouse struct {
	DSN           string // with the password in it
	InsertTimeout time.Duration
	Retention     Retention

	dsnFile, password, passwordFile string
}

// Retention is how long rows are kept, in whole days; 0 leaves it as the schema has it.
type Retention struct{ Events, Alerts, DeadLetters, Baselines time.Duration }

// Detect is what is looked for, and how much of it.
type Detect struct {
	AlertBudget float64
	Detectors   []string // empty: all
	EpisodeGap  time.Duration
	StateMemory int64 // bytes, over all partitions of the process; 0: no limit
	Links       string
}

// Pipeline is how events go to the database.
type Pipeline struct {
	BlockRows          int
	BlockAge, AlertAge time.Duration
	CheckpointEvery    time.Duration
	LateAfter          time.Duration
	DuplicateWindow    int // ids remembered per partition
	DuplicateMemory    int64
}

// Triage is how decisions of people reach the engine.
type Triage struct {
	Poll         time.Duration
	Suppressions []triage.Suppression
}

// DeadLetters bounds what rejected messages may take, per process.
type DeadLetters struct {
	RowsPerHour  int
	BytesPerHour int64
}

// HTTP is the listener for metrics and health.
type HTTP struct {
	Listen               string // host:port, "off" for none
	Chosen               bool   // Listen was set, not defaulted
	Token                string // bearer token that /metrics and the profiles ask for
	AllowUnauthenticated bool
	Pprof                bool
	StalledAfter         time.Duration

	tokenFile string
}

// Receive is the listener that takes events.
type Receive struct {
	Listen                  string // host:port, "off" for none
	TokensFile              string
	AllowUnauthenticated    bool // on loopback only
	CertFile, KeyFile       string
	EventsPerSecond         int // of a token that has no limit of its own, 0: any
	BytesPerSecond, MaxBody int64
	MaxRequests             int
}

// Log is what the process says about itself.
type Log struct{ Format, Level string }

// Kind of a value.
type Kind string

const (
	Text     Kind = "text"
	List     Kind = "list of texts"
	Int      Kind = "whole number"
	Number   Kind = "number"
	Bool     Kind = "true or false"
	Duration Kind = "duration" // 500ms, 10s, 2h, 180d
	Size     Kind = "size"     // bytes: 4MiB, 512KB, 1048576
	Rules    Kind = "list of suppressions"
)

// Field is one key.
type Field struct {
	Path    string // dotted
	Kind    Kind
	Secret  bool   // only from the environment, and never shown
	Default string // as it would be written; empty: none
	Help    string

	set func(*Config, any) error
	get func(*Config) any
}

// Env is the environment variable that overrides the key.
func (f Field) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Path, ".", "_"))
}

// EnvPrefix begins the names of all variables.
const EnvPrefix = "ASTRAY_"

// Fields lists all keys, in the order in which they are documented.
func Fields() []Field {
	return []Field{
		list("kafka.brokers", "", "brokers to begin with, host:port", func(c *Config) *[]string { return &c.Kafka.Brokers }, brokers),
		text("kafka.client_id", "astray", "the name brokers see in their logs", func(c *Config) *string { return &c.Kafka.ClientID }, filled),
		text("kafka.group", "astray", "consumer group; instances of one group share the partitions", func(c *Config) *string { return &c.Kafka.Group }, filled),
		text("kafka.topic", "agent.events", "topic of activity events", func(c *Config) *string { return &c.Kafka.Topic }, topic),
		text("kafka.alerts_topic", "agent.alerts", "topic that alerts are copied to", func(c *Config) *string { return &c.Kafka.AlertsTopic }, topic),
		text("kafka.dead_letters_topic", "agent.dead", "topic that rejected messages are copied to", func(c *Config) *string { return &c.Kafka.DeadLettersTopic }, topic),
		text("kafka.links_topic", "agent.links", "topic of what events say about what agents share; see detect.links", func(c *Config) *string { return &c.Kafka.LinksTopic }, topic),
		integer("kafka.link_partitions", "1", "partitions of a topic of links that does not exist yet", func(c *Config) *int { return &c.Kafka.LinkPartitions }, 1, 1000),
		integer("kafka.partitions", "4", "partitions of a topic of events that does not exist yet", func(c *Config) *int { return &c.Kafka.Partitions }, 1, 10_000),
		integer("kafka.replicas", "0", "replicas of topics that do not exist yet; 0 leaves it to the brokers", func(c *Config) *int { return &c.Kafka.Replicas }, 0, 15),
		text("kafka.reset", "earliest", "where to begin without a checkpoint: earliest or latest", func(c *Config) *string { return &c.Kafka.Reset }, oneOf("earliest", "latest")),
		duration("kafka.session_timeout", "30s", "how long the group waits for a silent instance before others take its partitions", func(c *Config) *time.Duration { return &c.Kafka.SessionTimeout }, 6*time.Second, 30*time.Minute),
		size("kafka.fetch_max_bytes", "1MiB", "largest answer to one fetch", func(c *Config) *int64 { return &c.Kafka.FetchMaxBytes }, 64<<10, 256<<20),
		boolean("kafka.tls.enabled", "false", "encrypt connections to brokers", func(c *Config) *bool { return &c.Kafka.TLS }),
		text("kafka.tls.ca_file", "", "certificates that brokers are checked against, PEM; the system's without", func(c *Config) *string { return &c.Kafka.CAFile }, nil),
		text("kafka.tls.cert_file", "", "certificate of this client, PEM, for brokers that ask for one", func(c *Config) *string { return &c.Kafka.CertFile }, nil),
		text("kafka.tls.key_file", "", "its key, PEM", func(c *Config) *string { return &c.Kafka.KeyFile }, nil),
		text("kafka.tls.server_name", "", "the name the brokers' certificate must carry, if not that of the address", func(c *Config) *string { return &c.Kafka.ServerName }, nil),
		text("kafka.sasl.mechanism", "", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; none without", func(c *Config) *string { return &c.Kafka.Mechanism }, oneOf("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")),
		text("kafka.sasl.user", "", "who to log in as", func(c *Config) *string { return &c.Kafka.User }, nil),
		secret("kafka.sasl.password", "the password", func(c *Config) *string { return &c.Kafka.Password }),
		text("kafka.sasl.password_file", "", "file that holds the password", func(c *Config) *string { return &c.Kafka.passwordFile }, nil),

		text("clickhouse.dsn", "", "database, clickhouse://user@host:9000/database; without its password", func(c *Config) *string { return &c.ClickHouse.DSN }, dsn),
		text("clickhouse.dsn_file", "", "file that holds the DSN, password and all", func(c *Config) *string { return &c.ClickHouse.dsnFile }, nil),
		secret("clickhouse.password", "the password of the DSN's user", func(c *Config) *string { return &c.ClickHouse.password }),
		text("clickhouse.password_file", "", "file that holds the password of the DSN's user", func(c *Config) *string { return &c.ClickHouse.passwordFile }, nil),
		duration("clickhouse.insert_timeout", "20s", "bound for one attempt to write; shorter than kafka.session_timeout", func(c *Config) *time.Duration { return &c.ClickHouse.InsertTimeout }, time.Second, 10*time.Minute),
		days("clickhouse.retention.events", "180d", "how long events are kept, from when they came", func(c *Config) *time.Duration { return &c.ClickHouse.Retention.Events }),
		days("clickhouse.retention.alerts", "730d", "how long alerts are kept", func(c *Config) *time.Duration { return &c.ClickHouse.Retention.Alerts }),
		days("clickhouse.retention.dead_letters", "30d", "how long rejected messages are kept", func(c *Config) *time.Duration { return &c.ClickHouse.Retention.DeadLetters }),
		days("clickhouse.retention.baselines", "365d", "how long the baselines of silent agents are kept", func(c *Config) *time.Duration { return &c.ClickHouse.Retention.Baselines }),

		number("detect.alert_budget", "1", "false alerts per 1,000 agent-days to aim at, over all detectors", func(c *Config) *float64 { return &c.Detect.AlertBudget }, 0.001, 1000),
		list("detect.detectors", "", "the detectors to run, all without; none: events are stored and habits learned", func(c *Config) *[]string { return &c.Detect.Detectors }, detectors),
		duration("detect.episode_gap", "1h", "how long an episode may pause and still be the same alert", func(c *Config) *time.Duration { return &c.Detect.EpisodeGap }, time.Minute, 7*24*time.Hour),
		text("detect.links", "auto", "where what crosses agents is judged when there are several partitions: topic (on kafka.links_topic, for any number of instances), local (within the process, for one instance alone), off (in each partition alone), auto (topic if there are several)", func(c *Config) *string { return &c.Detect.Links }, oneOf("auto", "topic", "local", "off")),
		size("detect.state_memory", "2GiB", "memory that the states of agents may take, an equal share for each partition of the topic; beyond it those that were not seen for the longest wait in the database", func(c *Config) *int64 { return &c.Detect.StateMemory }, 16<<20, 1<<40),

		integer("pipeline.block_rows", "50000", "events in one insert at most", func(c *Config) *int { return &c.Pipeline.BlockRows }, 100, 1_000_000),
		duration("pipeline.block_age", "500ms", "how long an event waits for its block to fill; ten times as long while more than a block waits on the topic", func(c *Config) *time.Duration { return &c.Pipeline.BlockAge }, 10*time.Millisecond, time.Minute),
		duration("pipeline.alert_age", "100ms", "how long an alert waits for the block of its events", func(c *Config) *time.Duration { return &c.Pipeline.AlertAge }, 10*time.Millisecond, time.Minute),
		duration("pipeline.checkpoint_every", "10s", "time between checkpoints; three times as long while more than a block waits on the topic", func(c *Config) *time.Duration { return &c.Pipeline.CheckpointEvery }, time.Second, time.Hour),
		duration("pipeline.late_after", "1h", "how far behind its partition an event may be before it is marked late", func(c *Config) *time.Duration { return &c.Pipeline.LateAfter }, time.Minute, 7*24*time.Hour),
		integer("pipeline.duplicate_window", "500000", "events per partition whose ids are remembered, 24 bytes each, to tell duplicates; 0 for none", func(c *Config) *int { return &c.Pipeline.DuplicateWindow }, 0, 100_000_000),
		size("pipeline.duplicate_memory", "48MiB", "memory of a partition that tells which ids of the last three days of event time the database must be asked about, so that duplicates are found within their day; 0 to look no further than the window", func(c *Config) *int64 { return &c.Pipeline.DuplicateMemory }, 0, 1<<40),

		duration("triage.poll", "2s", "how often verdicts and suppressions are read", func(c *Config) *time.Duration { return &c.Triage.Poll }, 100*time.Millisecond, 10*time.Minute),
		rules("triage.suppressions", "rules that hide alerts, beside those people add while it runs", func(c *Config) *[]triage.Suppression { return &c.Triage.Suppressions }),

		integer("dead_letters.rows_per_hour", "100000", "rejected messages kept in an hour, before they are only counted", func(c *Config) *int { return &c.DeadLetters.RowsPerHour }, 1, 100_000_000),
		size("dead_letters.bytes_per_hour", "256MiB", "bytes of rejected messages kept in an hour", func(c *Config) *int64 { return &c.DeadLetters.BytesPerHour }, 64<<10, 1<<40),

		text("http.listen", "127.0.0.1:9464", "where /metrics, /healthz and /readyz answer; off for nowhere", func(c *Config) *string { return &c.HTTP.Listen }, listen),
		secret("http.token", "bearer token that /metrics and /debug/pprof ask for", func(c *Config) *string { return &c.HTTP.Token }),
		text("http.token_file", "", "file that holds the token", func(c *Config) *string { return &c.HTTP.tokenFile }, nil),
		boolean("http.allow_unauthenticated", "false", "answer beyond loopback without a token", func(c *Config) *bool { return &c.HTTP.AllowUnauthenticated }),
		boolean("http.pprof", "false", "serve profiles under /debug/pprof", func(c *Config) *bool { return &c.HTTP.Pprof }),
		duration("http.stalled_after", "2m", "age of the oldest record without a checkpoint at which /readyz says no", func(c *Config) *time.Duration { return &c.HTTP.StalledAfter }, 10*time.Second, 24*time.Hour),

		text("receive.listen", "off", "where events are taken over HTTP, such as 127.0.0.1:4318; off for nowhere", func(c *Config) *string { return &c.Receive.Listen }, listen),
		text("receive.tokens_file", "", "file of those who may send, a name and a token a line", func(c *Config) *string { return &c.Receive.TokensFile }, nil),
		boolean("receive.allow_unauthenticated", "false", "take events without a token, on loopback only", func(c *Config) *bool { return &c.Receive.AllowUnauthenticated }),
		text("receive.cert_file", "", "certificate, PEM, to take events over TLS", func(c *Config) *string { return &c.Receive.CertFile }, nil),
		text("receive.key_file", "", "its key, PEM", func(c *Config) *string { return &c.Receive.KeyFile }, nil),
		integer("receive.events_per_second", "10000", "events a second of a token without a limit of its own; 0 for no limit", func(c *Config) *int { return &c.Receive.EventsPerSecond }, 0, 100_000_000),
		size("receive.bytes_per_second", "16MiB", "bytes a second of a token without a limit of its own, after decompression", func(c *Config) *int64 { return &c.Receive.BytesPerSecond }, 1<<10, 1<<30),
		size("receive.max_body", "4MiB", "largest body of a request, before and after decompression", func(c *Config) *int64 { return &c.Receive.MaxBody }, 1<<10, 64<<20),
		integer("receive.max_requests", "32", "requests under way at once", func(c *Config) *int { return &c.Receive.MaxRequests }, 1, 10_000),

		text("log.format", "text", "text or json", func(c *Config) *string { return &c.Log.Format }, oneOf("text", "json")),
		text("log.level", "info", "debug, info, warn or error", func(c *Config) *string { return &c.Log.Level }, oneOf("debug", "info", "warn", "error")),

		secret("fingerprint_key", "key of the fingerprints that stand for secrets found in events", func(c *Config) *string { return &c.fingerprintKey }),
		text("fingerprint_key_file", "", "file that holds the key; instances of one stream share it", func(c *Config) *string { return &c.fingerprintKeyFile }, nil),
	}
}

func bind[T any](f Field, at func(*Config) *T, check func(T) error) Field {
	f.set = func(c *Config, v any) error {
		x, ok := v.(T)
		if !ok {
			return fmt.Errorf("is a %T where a %s is read", v, f.Kind)
		}
		if check != nil {
			if err := check(x); err != nil {
				return err
			}
		}
		*at(c) = x
		return nil
	}
	f.get = func(c *Config) any { return *at(c) }
	return f
}

func text(path, def, help string, at func(*Config) *string, check func(string) error) Field {
	return bind(Field{Path: path, Kind: Text, Default: def, Help: help}, at, check)
}

func secret(path, help string, at func(*Config) *string) Field {
	return bind(Field{Path: path, Kind: Text, Secret: true, Help: help}, at, nil)
}

func list(path, def, help string, at func(*Config) *[]string, check func([]string) error) Field {
	return bind(Field{Path: path, Kind: List, Default: def, Help: help}, at, check)
}

func boolean(path, def, help string, at func(*Config) *bool) Field {
	return bind(Field{Path: path, Kind: Bool, Default: def, Help: help}, at, nil)
}

func rules(path, help string, at func(*Config) *[]triage.Suppression) Field {
	return bind(Field{Path: path, Kind: Rules, Help: help}, at, nil)
}

func integer(path, def, help string, at func(*Config) *int, low, high int) Field {
	return bind(Field{Path: path, Kind: Int, Default: def, Help: help}, at, func(v int) error {
		if v < low || v > high {
			return fmt.Errorf("%d is not between %d and %d", v, low, high)
		}
		return nil
	})
}

func number(path, def, help string, at func(*Config) *float64, low, high float64) Field {
	return bind(Field{Path: path, Kind: Number, Default: def, Help: help}, at, func(v float64) error {
		if !(v >= low && v <= high) {
			return fmt.Errorf("%v is not between %v and %v", v, low, high)
		}
		return nil
	})
}

func duration(path, def, help string, at func(*Config) *time.Duration, low, high time.Duration) Field {
	return bind(Field{Path: path, Kind: Duration, Default: def, Help: help}, at, func(v time.Duration) error {
		if v < low || v > high {
			return fmt.Errorf("%s is not between %s and %s", FormatDuration(v), FormatDuration(low), FormatDuration(high))
		}
		return nil
	})
}

func days(path, def, help string, at func(*Config) *time.Duration) Field {
	const day = 24 * time.Hour
	return bind(Field{Path: path, Kind: Duration, Default: def, Help: help + "; whole days"}, at, func(v time.Duration) error {
		switch {
		case v < day || v > 36500*day:
			return fmt.Errorf("%s is not between 1d and 36500d", FormatDuration(v))
		case v%day != 0:
			return fmt.Errorf("%s is not a number of whole days", FormatDuration(v))
		}
		return nil
	})
}

func size(path, def, help string, at func(*Config) *int64, low, high int64) Field {
	return bind(Field{Path: path, Kind: Size, Default: def, Help: help}, at, func(v int64) error {
		if v < low || v > high {
			return fmt.Errorf("%s is not between %s and %s", FormatSize(v), FormatSize(low), FormatSize(high))
		}
		return nil
	})
}

func filled(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("is empty")
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		shown := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
		for _, w := range shown {
			if strings.EqualFold(w, s) {
				return fmt.Errorf("%q: is written %s", s, w)
			}
		}
		hint := ""
		if near := nearest(s, shown); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return fmt.Errorf("%q is none of %s%s", s, strings.Join(shown, ", "), hint)
	}
}

func topic(s string) error {
	if s == "" || len(s) > 249 || s == "." || s == ".." {
		return fmt.Errorf("%q is no name of a topic: 1 to 249 letters, digits, dots, underscores and dashes", s)
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return fmt.Errorf("%q is no name of a topic: %q is not a letter, digit, dot, underscore or dash", s, r)
		}
	}
	return nil
}

func address(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q: the port is not a number between 1 and 65535", s)
	}
	return nil
}

func detectors(names []string) error {
	_, err := catalog.Select(names...)
	return err
}

func brokers(all []string) error {
	if len(all) == 0 {
		return errors.New("names no broker; host:port")
	}
	for _, b := range all {
		if err := address(b); err != nil {
			return err
		}
	}
	return nil
}

func listen(s string) error {
	if s == "off" {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor off", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port is not a number between 0 and 65535", s)
	}
	if host == "" {
		return fmt.Errorf("%q: say the address too; 0.0.0.0%s for every one", s, s)
	}
	return nil
}

func dsn(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the whole text may hold a password
		}
		return fmt.Errorf("is not a DSN: %w", err)
	case !slices.Contains([]string{"clickhouse", "tcp", "http", "https"}, u.Scheme):
		return errors.New("is not a DSN: it begins with clickhouse://")
	case u.Host == "":
		return errors.New("is not a DSN: it names no host")
	}
	return nil
}

// Loopback reports whether an address host:port can be reached from this machine alone.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
