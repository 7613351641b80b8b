package reader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	native "github.com/ClickHouse/clickhouse-go/v2"
)

// Kind of a problem, for those who decide by it.
type Kind string

const (
	Unreachable Kind = "unreachable" // nobody answers at the address
	Refused     Kind = "refused"     // wrong user or password
	Forbidden   Kind = "forbidden"   // the database user may not do this
	NoSchema    Kind = "schema"      // Astray's tables are missing or too old
	TooMuch     Kind = "too much"    // out of time or memory
	Invalid     Kind = "invalid"     // the question cannot be answered as it was put
	Broken      Kind = "broken"      // anything else
	NotFound    Kind = "not found"
)

// Problem is an error that tells a person what is wrong and what to do.
type Problem struct {
	Kind Kind
	Text string
	Err  error // what the driver said, nil where there was no driver
}

func (p *Problem) Error() string { return p.Text }

func (p *Problem) Unwrap() error { return p.Err }

func invalid(format string, a ...any) error {
	return &Problem{Kind: Invalid, Text: fmt.Sprintf(format, a...)}
}

// KindOf returns the kind of a problem, Broken for an error of another type.
func KindOf(err error) Kind {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Kind
	}
	return Broken
}

var serverCode = regexp.MustCompile(`(?:Code: |code: )(\d+)`)

// codeOf is the server's error code, 0 where the server did not answer.
func codeOf(err error) int {
	if e, ok := errors.AsType[*native.Exception](err); ok {
		return int(e.Code)
	}
	if m := serverCode.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

const maxServerText = 300

// problem turns an error of the driver into words.
func (r *Reader) problem(ctx context.Context, what string, err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	p := &Problem{Err: err}
	switch code := codeOf(err); {
	case code == 516 || code == 193 || code == 194: // AUTHENTICATION_FAILED, WRONG_PASSWORD, REQUIRED_PASSWORD
		p.Kind, p.Text = Refused, fmt.Sprintf("ClickHouse at %s refuses user %q: wrong user or password", r.cfg.Address, r.cfg.Username)
	case code == 81: // UNKNOWN_DATABASE
		p.Kind, p.Text = NoSchema, fmt.Sprintf("ClickHouse at %s has no database %q", r.cfg.Address, r.cfg.Database)
	case code == 60 || code == 47 || code == 16 || code == 46: // UNKNOWN_TABLE, UNKNOWN_IDENTIFIER, NO_SUCH_COLUMN, UNKNOWN_FUNCTION
		p.Kind, p.Text = NoSchema, fmt.Sprintf("%s: Astray's schema is missing or too old in database %q; run `astray migrate` (%s)", what, r.cfg.Database, serverText(err))
	case code == 497 || code == 164: // ACCESS_DENIED, READONLY
		p.Kind, p.Text = Forbidden, fmt.Sprintf("%s: database user %q lacks the right (%s)", what, r.cfg.Username, serverText(err))
	case code == 159 || code == 160 || errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		p.Kind, p.Text = TooMuch, fmt.Sprintf("%s: took longer than %v; ask for a shorter time range", what, r.cfg.Timeout)
	case code == 241 || code == 396 || code == 158 || code == 307: // memory, too many rows or bytes
		p.Kind, p.Text = TooMuch, what+": needs more memory than a query may use; ask for a shorter time range or a narrower filter"
	case code == 427: // CANNOT_COMPILE_REGEXP
		p.Kind, p.Text = Invalid, "filter: the regular expression is not well formed (RE2 syntax)"
	case errors.Is(err, context.Canceled):
		p.Kind, p.Text = Broken, what+": was cancelled"
	case code != 0:
		p.Kind, p.Text = Broken, fmt.Sprintf("%s: %s", what, serverText(err))
	default:
		p.Kind, p.Text = unreachable(r.cfg, err)
	}
	return p
}

func unreachable(cfg Config, err error) (Kind, string) {
	at := "ClickHouse at " + cfg.Address
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return Unreachable, fmt.Sprintf("%s is unreachable: there is no host of this name", at)
	case errors.As(err, &unknown):
		return Unreachable, fmt.Sprintf("%s shows a certificate of an unknown authority; give its CA", at)
	case errors.As(err, &name):
		return Unreachable, fmt.Sprintf("%s shows a certificate for another name", at)
	case errors.As(err, &record):
		return Unreachable, fmt.Sprintf("%s does not speak TLS on this port", at)
	case errors.As(err, &op) && op.Timeout():
		return Unreachable, fmt.Sprintf("%s is unreachable: no answer in time", at)
	case errors.As(err, &op) && strings.Contains(op.Error(), "refused"):
		return Unreachable, fmt.Sprintf("%s is unreachable: nothing listens there", at)
	case strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "unexpected packet") || strings.Contains(err.Error(), "malformed HTTP"):
		protocol := cfg.Protocol
		if protocol == "" {
			protocol = "native"
		}
		return Unreachable, fmt.Sprintf("%s ended the conversation: is this the port of the %s protocol?", at, protocol)
	}
	return Unreachable, fmt.Sprintf("%s is unreachable: %s", at, serverText(err))
}

// serverText is the beginning of what the server said, on one line.
func serverText(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if e, ok := errors.AsType[*native.Exception](err); ok {
		s = strings.Join(strings.Fields(e.Message), " ")
	}
	if i := strings.Index(s, "Stack trace"); i > 0 {
		s = s[:i]
	}
	if len(s) > maxServerText {
		s = strings.ToValidUTF8(s[:maxServerText], "") + "…"
	}
	return s
}

// RequiredSchema is the lowest version of the schema that the reader can read.
const RequiredSchema = 5

// Schema is the version of the schema and the one that is needed. Version 0 means that there is none.
type Schema struct {
	Version  int64 `json:"version"`
	Expected int64 `json:"expected"`
}

// Schema reads the version.
func (r *Reader) Schema(ctx context.Context) (Schema, error) {
	s := Schema{Expected: RequiredSchema}
	err := r.row(ctx, "read the schema's version", "SELECT max(version_id) FROM goose_db_version WHERE is_applied", nil, &s.Version)
	if KindOf(err) == NoSchema && err != nil && codeOf(errors.Unwrap(err)) != 81 {
		return s, nil
	}
	return s, err
}

// Finding is the outcome of one check of Health.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// Health checks, in turn, whether the server answers, lets the user in, has the schema, and answers a question about
// alerts and events. It stops at the first that fails; that one is the last of the findings. The second value is what
// sums them up for a person.
func (r *Reader) Health(ctx context.Context) (findings []Finding, ok bool, message string) {
	add := func(check string, err error, good string) bool {
		f := Finding{check, err == nil, good}
		if err != nil {
			f.Message, message = err.Error(), err.Error()
		}
		findings = append(findings, f)
		return err == nil
	}
	var version string
	if err := r.row(ctx, "connect", "SELECT version()", nil, &version); !add("connection", err, fmt.Sprintf("ClickHouse %s answers at %s", version, r.cfg.Address)) {
		return findings, false, message
	}
	schema, err := r.Schema(ctx)
	switch {
	case err != nil:
	case schema.Version == 0:
		err = &Problem{NoSchema, fmt.Sprintf("database %q holds no Astray schema; run `astray migrate` against it", r.cfg.Database), nil}
	case schema.Version < schema.Expected:
		err = &Problem{NoSchema, fmt.Sprintf("Astray's schema in database %q is version %d, this plugin needs %d or newer; run `astray migrate`", r.cfg.Database, schema.Version, schema.Expected), nil}
	}
	if !add("schema", err, fmt.Sprintf("the schema is version %d", schema.Version)) {
		return findings, false, message
	}
	for _, c := range []struct{ check, query string }{
		{"alerts", "SELECT 1 FROM alerts_latest LIMIT 0"}, {"events", "SELECT 1 FROM events LIMIT 0"},
		{"audit trail", "SELECT 1 FROM alert_actions LIMIT 0"}, {"suppressions", "SELECT 1 FROM suppressions LIMIT 0"},
		{"baselines", "SELECT 1 FROM baselines LIMIT 0"},
	} {
		if !add(c.check, r.row(ctx, "read the "+c.check, c.query, nil), "can be read") {
			return findings, false, message
		}
	}
	return findings, true, fmt.Sprintf("Connected to ClickHouse %s, schema version %d", version, schema.Version)
}
