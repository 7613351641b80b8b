package event

import (
	"fmt"
	"net/netip"
)

// Codes of a Rejection. They are public: metrics, dead letters and their remedies are keyed by them.
const (
	CodeBadJSON      = "bad_json"      // not one strictly valid JSON object
	CodeBadProtobuf  = "bad_protobuf"  // not a valid OTLP trace export, or strings in it that are not UTF-8
	CodeBadTime      = "bad_time"      // not RFC 3339 or epoch milliseconds, or before 1970
	CodeBadValue     = "bad_value"     // right type, but outside what the field allows
	CodeDuplicateKey = "duplicate_key" // a key stands twice in the object or in labels
	CodeEmpty        = "empty"         // an empty message, or a required field that is ""
	CodeFutureTime   = "future_time"   // more than MaxFuture ahead of the receiver's clock
	CodeInvalidUTF8  = "invalid_utf8"  // in a required field; elsewhere it is replaced by U+FFFD
	CodeMissingField = "missing_field" // a required field is absent
	CodeTooLarge     = "too_large"     // the message is over MaxMessage
	CodeTooLong      = "too_long"      // a field is over its limit
	CodeUnsupported  = "unsupported"   // of a format, version or class that is not read
	CodeWrongType    = "wrong_type"    // the JSON type is not the field's
)

// Rejection says why a message is not an event. It never holds a value of the message, which may be a secret.
type Rejection struct {
	Code  string // one of the Code constants
	Field string // the contract's name of the field; empty when the message as a whole is at fault
	Rule  string // what was demanded, in plain words, to be read after the field's name
}

// Error reads "field: rule (code)".
func (r *Rejection) Error() string {
	if r.Field == "" {
		return fmt.Sprintf("%s (%s)", r.Rule, r.Code)
	}
	return fmt.Sprintf("%s: %s (%s)", r.Field, r.Rule, r.Code)
}

// Complete checks what every format must deliver and fills in what the contract derives: the service "unknown",
// the access from method or action, the canonical form of the address. now is the receiver's clock in
// microseconds since the epoch. The error is nil or a *Rejection, and then e is not to be used.
func Complete(e *Event, now int64) error {
	for _, f := range [...]struct {
		name, value string
		limit       int
	}{{"id", e.ID, MaxID}, {"agent_id", e.AgentID, MaxAgentID}, {"action", e.Action, MaxAction}} {
		if f.value == "" {
			return &Rejection{CodeMissingField, f.name, "is required"}
		}
		if len(f.value) > f.limit {
			return &Rejection{CodeTooLong, f.name, fmt.Sprintf("is at most %d bytes", f.limit)}
		}
	}
	switch {
	case e.Kind == KindUnknown:
		return &Rejection{CodeMissingField, "kind", "is required"}
	case e.Time < 0:
		return &Rejection{CodeBadTime, "time", "is not before 1970"}
	case e.Time > now+MaxFuture:
		return &Rejection{CodeFutureTime, "time", "is at most 24 h ahead of the clock"}
	}
	if e.Service == "" {
		e.Service = "unknown"
	}
	if e.Access == AccessUnknown {
		e.Access = DeriveAccess(e.Method, e.Action)
	}
	if e.SourceIP != "" {
		if a, err := netip.ParseAddr(e.SourceIP); err == nil {
			var buf [64]byte
			if canonical := a.Unmap().AppendTo(buf[:0]); string(canonical) != e.SourceIP {
				e.SourceIP = string(canonical)
			}
		}
	}
	return nil
}
