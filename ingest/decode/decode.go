// Package decode turns messages into events. The native shape is one JSON object, activity event version 1.
package decode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-faster/jx"

	"github.com/astray-dev/astray/ingest/event"
)

// Rejection says why a message is not an event: a stable code, the field and the rule it broke.
type Rejection struct {
	Code  string // missing_field, wrong_type, too_long, empty, bad_value, future_time, invalid_utf8, duplicate_key, bad_json, too_large
	Field string // empty when the message as a whole is at fault
	Rule  string
}

// Error reads "field: rule (code)".
func (r *Rejection) Error() string {
	if r.Field == "" {
		return fmt.Sprintf("%s (%s)", r.Rule, r.Code)
	}
	return fmt.Sprintf("%s: %s (%s)", r.Field, r.Rule, r.Code)
}

func reject(code, field, rule string) error { return &Rejection{code, field, rule} }

// Decoder decodes the native shape. It is reusable and belongs to one goroutine.
type Decoder struct {
	d jx.Decoder
}

// text fields of the contract, with their greatest length in bytes (0: bounded by the message alone).
func textField(e *event.Event, key string) (dst *string, limit int, required bool) {
	switch key {
	case "id":
		return &e.ID, event.MaxID, true
	case "agent_id":
		return &e.AgentID, event.MaxAgentID, true
	case "action":
		return &e.Action, event.MaxAction, true
	case "method":
		return &e.Method, 0, false
	case "service":
		return &e.Service, 0, false
	case "resource":
		return &e.Resource, 0, false
	case "destination":
		return &e.Destination, 0, false
	case "credential_id":
		return &e.CredentialID, 0, false
	case "owner_id":
		return &e.OwnerID, 0, false
	case "session_id":
		return &e.SessionID, 0, false
	case "trace_id":
		return &e.TraceID, 0, false
	case "agent_version":
		return &e.AgentVersion, 0, false
	case "cohort":
		return &e.Cohort, 0, false
	case "source_ip":
		return &e.SourceIP, 0, false
	case "user_agent":
		return &e.UserAgent, 0, false
	case "community":
		return &e.Community, 0, false
	case "reply_to":
		return &e.ReplyTo, 0, false
	case "content":
		return &e.Content, 0, false
	}
	return nil, 0, false
}

// Decode reads one message into e, which it resets first. now is the receiver's clock in microseconds since the
// epoch; an event more than a day ahead of it is refused. Every error is a *Rejection, and e is then not to be used.
func (d *Decoder) Decode(msg []byte, now int64, e *event.Event) error {
	e.Reset()
	switch {
	case len(msg) > event.MaxMessage:
		return reject("too_large", "", "a message is at most 1 MiB")
	}
	valid := utf8.Valid(msg)
	e.Service = ""
	var seen [48]string
	keys := seen[:0]
	d.d.ResetBytes(msg)
	if d.d.Next() != jx.Object {
		return reject("bad_json", "", "a message is one JSON object")
	}
	var hasTime, hasKind bool
	err := d.d.Obj(func(d *jx.Decoder, key string) error {
		// A second value for a key would let one reader see what another did not.
		for _, k := range keys {
			if k == key {
				return reject("duplicate_key", clip(key), "a key stands once")
			}
		}
		if len(keys) >= 1024 {
			return reject("too_large", "", "an object has at most 1024 keys")
		}
		keys = append(keys, key)
		next := d.Next()
		if dst, limit, required := textField(e, key); dst != nil {
			if next == jx.Null && !required {
				return d.Null()
			}
			if next != jx.String {
				return reject("wrong_type", key, "is a string")
			}
			s, err := d.Str()
			if err != nil {
				return err
			}
			if required && s == "" {
				return reject("empty", key, "is not empty")
			}
			if limit > 0 && len(s) > limit {
				return reject("too_long", key, fmt.Sprintf("is at most %d bytes", limit))
			}
			if !valid && !utf8.ValidString(s) {
				if required {
					return reject("invalid_utf8", key, "is UTF-8")
				}
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			*dst = s
			return nil
		}
		if next == jx.Null && key != "time" && key != "kind" {
			return d.Null()
		}
		switch key {
		case "time":
			hasTime = true
			return decodeTime(d, next, now, e)
		case "kind":
			hasKind = true
			if next != jx.String {
				return reject("wrong_type", key, "is a string")
			}
			s, err := d.Str()
			if err != nil {
				return err
			}
			switch s {
			case "post":
				e.Kind = event.Post
			case "api_call":
				e.Kind = event.APICall
			default:
				return reject("bad_value", key, `is "post" or "api_call"`)
			}
			return nil
		case "access":
			if next != jx.String {
				return reject("wrong_type", key, "is a string")
			}
			s, err := d.Str()
			if err != nil {
				return err
			}
			var ok bool
			if e.Access, ok = event.ParseAccess(s); !ok {
				return reject("bad_value", key, "is read, write, delete, auth or admin")
			}
			return nil
		case "asn", "status", "request_bytes", "response_bytes":
			n, err := integer(d, next, key)
			if err != nil {
				return err
			}
			switch {
			case key == "asn" && n >= 0 && n <= math.MaxUint32:
				e.ASN = uint32(n)
			case key == "status" && n >= math.MinInt32 && n <= math.MaxInt32:
				e.Status = int32(n)
			case key == "request_bytes" && n >= 0:
				e.RequestBytes = n
			case key == "response_bytes" && n >= 0:
				e.ResponseBytes = n
			default:
				return reject("bad_value", key, "is out of range")
			}
			return nil
		case "duration_ms":
			if next != jx.Number {
				return reject("wrong_type", key, "is a number")
			}
			f, err := d.Float64()
			if err != nil || f < 0 || math.IsInf(f, 0) {
				return reject("bad_value", key, "is a finite number of at least 0")
			}
			e.DurationMS = f
			return nil
		case "on_behalf_of":
			return texts(d, next, key, &e.OnBehalfOf)
		case "mentions":
			return texts(d, next, key, &e.Mentions)
		case "labels":
			if next != jx.Object {
				return reject("wrong_type", key, "is an object of scalars")
			}
			return d.Obj(func(d *jx.Decoder, k string) error { return label(d, k, e) })
		default:
			return label(d, key, e)
		}
	})
	if err != nil {
		var r *Rejection
		if errors.As(err, &r) {
			return r
		}
		return reject("bad_json", "", clip(err.Error()))
	}
	if err := d.d.Skip(); !errors.Is(err, io.EOF) {
		return reject("bad_json", "", "nothing follows the object")
	}
	for _, f := range [...]struct {
		name string
		ok   bool
	}{{"id", e.ID != ""}, {"time", hasTime}, {"kind", hasKind}, {"agent_id", e.AgentID != ""}, {"action", e.Action != ""}} {
		if !f.ok {
			return reject("missing_field", f.name, "is required")
		}
	}
	if e.Service == "" {
		e.Service = "unknown"
	}
	if a, err := netip.ParseAddr(e.SourceIP); err == nil {
		e.SourceIP = a.Unmap().String()
	}
	if e.Access == event.AccessUnknown {
		e.Access = event.DeriveAccess(e.Method, e.Action)
	}
	return nil
}

func decodeTime(d *jx.Decoder, next jx.Type, now int64, e *event.Event) error {
	switch next {
	case jx.String:
		s, err := d.StrBytes()
		if err != nil {
			return err
		}
		t, err := time.Parse(time.RFC3339Nano, string(s))
		if err != nil {
			return reject("bad_value", "time", "is RFC 3339 or milliseconds since the epoch")
		}
		e.Time = t.UnixMicro()
	case jx.Number:
		n, err := integer(d, next, "time")
		if err != nil {
			return err
		}
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return reject("bad_value", "time", "is out of range")
		}
		e.Time = n * 1000
	default:
		return reject("wrong_type", "time", "is a string or an integer")
	}
	// DateTime64(6) begins in 1900; Astray's windows begin with the epoch.
	if e.Time < 0 {
		return reject("bad_value", "time", "is not before 1970")
	}
	if e.Time > now+event.MaxFuture {
		return reject("future_time", "time", "is at most 24 h ahead of the clock")
	}
	return nil
}

func integer(d *jx.Decoder, next jx.Type, key string) (int64, error) {
	if next != jx.Number {
		return 0, reject("wrong_type", key, "is an integer")
	}
	n, err := d.Num()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0, reject("bad_value", key, "is an integer of 64 bits")
	}
	return v, nil
}

func texts(d *jx.Decoder, next jx.Type, key string, dst *[]string) error {
	if next != jx.Array {
		return reject("wrong_type", key, "is an array of strings")
	}
	return d.Arr(func(d *jx.Decoder) error {
		if d.Next() != jx.String {
			return reject("wrong_type", key, "is an array of strings")
		}
		s, err := d.Str()
		*dst = append(*dst, strings.ToValidUTF8(s, "\uFFFD"))
		return err
	})
}

// label keeps a scalar and ignores anything else.
func label(d *jx.Decoder, key string, e *event.Event) error {
	switch d.Next() {
	case jx.String:
		s, err := d.Str()
		e.Labels = append(e.Labels, event.Label{Key: strings.ToValidUTF8(key, "\uFFFD"), Value: strings.ToValidUTF8(s, "\uFFFD")})
		return err
	case jx.Number, jx.Bool:
		raw, err := d.Raw()
		if err == nil && !json.Valid(raw) {
			return reject("bad_json", clip(key), "is a JSON number")
		}
		e.Labels = append(e.Labels, event.Label{Key: key, Value: string(raw)})
		return err
	default:
		raw, err := d.Raw()
		if err == nil && !json.Valid(raw) {
			return reject("bad_json", clip(key), "is JSON")
		}
		return err
	}
}

func clip(s string) string {
	if len(s) > 200 {
		s = s[:200]
	}
	return strconv.QuoteToASCII(s)
}
