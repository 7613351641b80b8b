// Package reader answers what people ask of the database: the queue of alerts, what stands behind one, what an agent,
// a credential or a source did, and how the fleet and the pipeline are. The Grafana app and the command line read
// through it. It changes nothing; what people decide is appended through package ledger.
//
// Every value is a parameter that travels beside the statement, never in it. Every query has a limit and a time-out.
// Strings are returned as they are stored, which is as an attacker may have sent them: who shows them escapes them.
package reader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
)

// Config of a connection. The zero value of a field but Address means its default.
type Config struct {
	Address  string // host:port
	Protocol string // "native" (default) or "http"
	Database string // default "default"
	Username string
	Password string
	TLS      bool
	// TLSSkipVerify accepts any certificate; TLSCA, PEM, is trusted beside the system's authorities.
	TLSSkipVerify bool
	TLSCA         string
	Timeout       time.Duration // of one query; default DefaultTimeout
}

const (
	// DefaultTimeout of a query.
	DefaultTimeout = 30 * time.Second
	maxTimeout     = 5 * time.Minute
	maxMemory      = 1_000_000_000 // bytes, of the server, for one query
)

// Check reports whether the connection is described well, naming the field that is not.
func (c Config) Check() error {
	if c.Address == "" {
		return errors.New("address: is needed, host:port of ClickHouse")
	}
	if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" {
		return fmt.Errorf("address: %.80q is not host:port", c.Address)
	}
	if c.Protocol != "" && c.Protocol != "native" && c.Protocol != "http" {
		return fmt.Errorf("protocol: %.40q is neither native nor http", c.Protocol)
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		return fmt.Errorf("timeout: is at most %v", maxTimeout)
	}
	return nil
}

// Reader reads. It is safe for use by several goroutines.
type Reader struct {
	cfg    Config
	conn   driver.Conn
	ledger *ledger.Ledger
	now    func() time.Time
}

// New makes a reader. It does not connect yet: Health says whether it can.
func New(cfg Config) (*Reader, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Database == "" {
		cfg.Database = "default"
	}
	opt := &native.Options{
		Addr:         []string{cfg.Address},
		Auth:         native.Auth{Database: cfg.Database, Username: cfg.Username, Password: cfg.Password},
		DialTimeout:  5 * time.Second,
		ReadTimeout:  cfg.Timeout + 5*time.Second,
		MaxOpenConns: 8, MaxIdleConns: 4,
		Compression: &native.Compression{Method: native.CompressionLZ4},
		ClientInfo: native.ClientInfo{Products: []struct{ Name, Version string }{
			{Name: "astray-reader", Version: "1"},
		}},
	}
	if cfg.Protocol == "http" {
		opt.Protocol = native.HTTP
	}
	if cfg.TLS {
		opt.TLS = &tls.Config{InsecureSkipVerify: cfg.TLSSkipVerify, MinVersion: tls.VersionTLS12}
		if cfg.TLSCA != "" {
			pool, err := x509.SystemCertPool()
			if err != nil {
				pool = x509.NewCertPool()
			}
			if !pool.AppendCertsFromPEM([]byte(cfg.TLSCA)) {
				return nil, errors.New("tlsCA: holds no certificate in PEM form")
			}
			opt.TLS.RootCAs = pool
		}
	}
	conn, err := native.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	return &Reader{cfg: cfg, conn: conn, ledger: ledger.New(conn), now: func() time.Time { return time.Now().UTC() }}, nil
}

// Close closes the connections.
func (r *Reader) Close() error { return r.conn.Close() }

// Ledger appends what people decide, over the same connections.
func (r *Reader) Ledger() *ledger.Ledger { return r.ledger }

// Config of the reader, without the password.
func (r *Reader) Config() Config {
	c := r.cfg
	c.Password = ""
	return c
}

// Span of time, both ends included.
type Span struct{ From, To time.Time }

// Length of the span.
func (s Span) Length() time.Duration { return s.To.Sub(s.From) }

// MaxSpan is the longest span that is read.
const MaxSpan = 400 * 24 * time.Hour

// Check reports whether the span can be read.
func (s Span) Check() error {
	switch {
	case s.From.IsZero() || s.To.IsZero():
		return errors.New("from and to: both are needed")
	case s.To.Before(s.From):
		return errors.New("from: lies after to")
	case s.Length() > MaxSpan:
		return fmt.Errorf("from and to: at most %d days apart", MaxSpan/(24*time.Hour))
	case s.From.Year() < 1970 || s.To.Year() > 2199:
		return errors.New("from and to: from 1970 to 2199")
	}
	return nil
}

// parameters are the values of a query, by name.
type parameters map[string]any

func (p parameters) span(s Span) parameters {
	p["from"], p["to"] = s.From, s.To
	return p
}

// with returns p and more in one.
func (p parameters) with(more parameters) parameters {
	out := parameters{}
	for k, v := range p {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// within bounds one query in time and in the server's memory.
func (r *Reader) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	return native.Context(ctx, native.WithSettings(native.Settings{
		"max_memory_usage": maxMemory, "max_result_rows": 1_000_000, "result_overflow_mode": "throw",
	})), cancel
}

func arguments(p parameters) []any {
	// The driver looks for parameters only where there is one, and binds them in the text otherwise.
	args := make([]any, 0, len(p)+1)
	for name, v := range p {
		if t, ok := v.(time.Time); ok {
			args = append(args, native.DateNamed(name, t, native.MicroSeconds))
			continue
		}
		args = append(args, native.Named(name, v))
	}
	return args
}

// rows runs a query and calls scan for each row. Its error is a *Problem.
func (r *Reader) rows(ctx context.Context, what, query string, p parameters, scan func(driver.Rows) error) error {
	ctx, cancel := r.within(ctx)
	defer cancel()
	rows, err := r.conn.Query(ctx, query, arguments(p)...)
	if err != nil {
		return r.problem(ctx, what, err)
	}
	for rows.Next() {
		if err := scan(rows); err != nil {
			return r.problem(ctx, what, errors.Join(err, rows.Close()))
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return r.problem(ctx, what, err)
	}
	return nil
}

// row runs a query of one row.
func (r *Reader) row(ctx context.Context, what, query string, p parameters, dest ...any) error {
	return r.rows(ctx, what, query, p, func(rows driver.Rows) error { return rows.Scan(dest...) })
}

// list joins conditions; there is always one.
func all(conditions []string) string {
	if len(conditions) == 0 {
		return "1"
	}
	return strings.Join(conditions, " AND ")
}
