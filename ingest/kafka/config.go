// Package kafka reads a topic as a member of a consumer group, one partition at a time, and writes what Astray
// has to say to others back to topics.
//
// Reading works on consumer-group generations, not on a group-mode reader: a generation is the span of time in
// which the assignment of partitions does not change, and everything that must not outlive an assignment (the
// worker of a partition, its fetch loop, its offset commits) is bound to one.
//
//	Consumer.Run --- generation 7 --- Assignment(events/0) --- handler --- Fetcher.Fetch, Commit
//	             |                \-- Assignment(events/3) --- handler
//	             \-- generation 8 ...
//
// Invariants:
//
//   - A handler runs for each assigned partition, and no two handlers of one consumer own the same partition at a
//     time: the next generation begins after every handler of this one has returned.
//   - Assignment.Done is closed when the handler is to finish: the generation ended, or a stop was asked for. The
//     handler then has the drain timeout to write down what it knows; its context is cancelled after that.
//   - While a stop drains, heartbeats go on, so the partition stays owned until the last offset is committed.
//   - A fetcher delivers every record of the log in offset order, each once. Where it cannot (the broker has
//     deleted records that were not read yet, or the log was cut or made anew) it says so with a Gap.
//   - Nothing here buffers without bound: one fetch response is in memory until the caller asks for the next.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Reset says where to begin in a partition that has neither a checkpoint nor a committed offset, and where to
// go on when the log ends before the offset that was to be read next.
type Reset string

const (
	Earliest Reset = "earliest" // the oldest record the broker still has; the default
	Latest   Reset = "latest"   // what is written from now on
)

// Config is how to reach the brokers and how to read. The zero value of a field means its default.
type Config struct {
	Brokers  []string // host:port; at least one
	ClientID string   // default "astray"
	TLS      TLS
	SASL     SASL

	Group string // consumer group id; needed to read
	Topic string // topic to read
	Reset Reset  // default Earliest

	// SessionTimeout is how long the group waits for a heartbeat before it gives a member's partitions to
	// others, default 30 s. HeartbeatInterval defaults to a tenth of it.
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the group waits for its members to hand over, default 30 s.
	RebalanceTimeout time.Duration
	// DrainTimeout is how long a handler may take to finish, default half of the smaller of the two above.
	DrainTimeout time.Duration
	// PartitionWatch is how often the number of partitions is looked up, default 30 s.
	PartitionWatch time.Duration

	// StallAfter is how long a partition may stand still while there is something to be read before something is done
	// about it, default 2 min.
	StallAfter time.Duration

	// FetchMaxBytes bounds one fetch response, default 1 MiB. A single larger record batch is still read.
	FetchMaxBytes int
	// FetchMaxWait is how long the broker may wait for data before it answers an empty fetch, default 250 ms.
	FetchMaxWait time.Duration
	// DialTimeout bounds connecting and authenticating, default 10 s.
	DialTimeout time.Duration
	// Timeout bounds a request to a broker, default 10 s.
	Timeout time.Duration

	Log     *slog.Logger // default: discarded
	Metrics *Metrics     // default: counted nowhere
}

// TLS is how connections are secured. The zero value is plain text.
type TLS struct {
	Enabled bool
	// CAFile holds the certificates that brokers are checked against, PEM; the system's when empty.
	CAFile string
	// CertFile and KeyFile are the client's own certificate, PEM, for brokers that ask for one.
	CertFile, KeyFile string
	// ServerName overrides the name that the broker's certificate must carry.
	ServerName string
}

// SASL is how the client authenticates. The zero value does not.
type SASL struct {
	Mechanism string // "", "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  string
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.ClientID == "" {
		c.ClientID = "astray"
	}
	if c.Reset == "" {
		c.Reset = Earliest
	}
	def(&c.SessionTimeout, 30*time.Second)
	def(&c.HeartbeatInterval, c.SessionTimeout/10)
	def(&c.RebalanceTimeout, 30*time.Second)
	def(&c.DrainTimeout, min(c.SessionTimeout, c.RebalanceTimeout)/2)
	def(&c.PartitionWatch, 30*time.Second)
	def(&c.StallAfter, 2*time.Minute)
	def(&c.FetchMaxWait, 250*time.Millisecond)
	def(&c.DialTimeout, 10*time.Second)
	def(&c.Timeout, 10*time.Second)
	if c.FetchMaxBytes <= 0 {
		c.FetchMaxBytes = 1 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c
}

// Validate reports what is wrong with the configuration, naming the field.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: brokers: at least one host:port is needed")
	}
	if c.Reset != "" && c.Reset != Earliest && c.Reset != Latest {
		return fmt.Errorf("kafka: reset: %q is neither %q nor %q", c.Reset, Earliest, Latest)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("kafka: tls: cert_file and key_file go together")
	}
	switch c.SASL.Mechanism {
	case "":
		if c.SASL.User != "" || c.SASL.Password != "" {
			return errors.New("kafka: sasl: mechanism: needed with a user or password")
		}
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		if c.SASL.User == "" {
			return errors.New("kafka: sasl: user: needed with a mechanism")
		}
	default:
		return fmt.Errorf("kafka: sasl: mechanism: %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", c.SASL.Mechanism)
	}
	return nil
}

// Check is Validate, and reads the files that the configuration names.
func (c Config) Check() error {
	if err := c.Validate(); err != nil {
		return err
	}
	_, _, err := c.security()
	return err
}

// security builds the TLS configuration and the SASL mechanism, nil where unused.
func (c Config) security() (*tls.Config, sasl.Mechanism, error) {
	var t *tls.Config
	if c.TLS.Enabled {
		t = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
		if c.TLS.CAFile != "" {
			pem, err := os.ReadFile(c.TLS.CAFile)
			if err != nil {
				return nil, nil, fmt.Errorf("kafka: tls: ca_file: %w", err)
			}
			t.RootCAs = x509.NewCertPool()
			if !t.RootCAs.AppendCertsFromPEM(pem) {
				return nil, nil, fmt.Errorf("kafka: tls: ca_file: %s holds no certificate", c.TLS.CAFile)
			}
		}
		if c.TLS.CertFile != "" {
			cert, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
			if err != nil {
				return nil, nil, fmt.Errorf("kafka: tls: cert_file, key_file: %w", err)
			}
			t.Certificates = []tls.Certificate{cert}
		}
	}
	var m sasl.Mechanism
	var err error
	switch c.SASL.Mechanism {
	case "PLAIN":
		m = plain.Mechanism{Username: c.SASL.User, Password: c.SASL.Password}
	case "SCRAM-SHA-256":
		m, err = scram.Mechanism(scram.SHA256, c.SASL.User, c.SASL.Password)
	case "SCRAM-SHA-512":
		m, err = scram.Mechanism(scram.SHA512, c.SASL.User, c.SASL.Password)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("kafka: sasl: %w", err)
	}
	return t, m, nil
}

func (c Config) dialer() (*kafkago.Dialer, error) {
	t, m, err := c.security()
	if err != nil {
		return nil, err
	}
	return &kafkago.Dialer{ClientID: c.ClientID, Timeout: c.DialTimeout, DualStack: true,
		KeepAlive: 30 * time.Second, TLS: t, SASLMechanism: m}, nil
}

func (c Config) transport() (*kafkago.Transport, error) {
	t, m, err := c.security()
	if err != nil {
		return nil, err
	}
	return &kafkago.Transport{ClientID: c.ClientID, DialTimeout: c.DialTimeout, TLS: t, SASL: m,
		IdleTimeout: 30 * time.Second, MetadataTTL: 6 * time.Second}, nil
}
