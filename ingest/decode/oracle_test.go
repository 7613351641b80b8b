package decode_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

// oracle decodes msg slowly, on a JSON reader that is strict by design, from the text of the contract. It does
// not redact. ok is false when the contract rejects the message.
func oracle(msg []byte, now int64) (e event.Event, ok bool) {
	if len(msg) > event.MaxMessage {
		return e, false
	}
	in := jsontext.NewDecoder(bytes.NewReader(msg), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := in.ReadToken(); err != nil || tok.Kind() != '{' {
		return e, false
	}
	seen := map[string]bool{}
	var named, other []event.Label
	for in.PeekKind() != '}' {
		tok, err := in.ReadToken()
		if err != nil {
			return e, false
		}
		key := tok.String()
		if seen[key] {
			return e, false
		}
		seen[key] = true
		raw, err := in.ReadValue()
		if err != nil {
			return e, false
		}
		raw = bytes.Clone(raw)
		if !oracleField(&e, key, raw, &named, &other) {
			return e, false
		}
	}
	if _, err := in.ReadToken(); err != nil {
		return e, false
	}
	if _, err := in.ReadToken(); !errors.Is(err, io.EOF) {
		return e, false
	}
	for _, k := range []string{"id", "time", "kind", "agent_id", "action"} {
		if !seen[k] {
			return e, false
		}
	}
	if e.Time < 0 || e.Time > now+event.MaxFuture {
		return e, false
	}
	e.Labels = named
	for _, l := range other {
		shadowed := false
		for _, n := range named {
			shadowed = shadowed || n.Key == l.Key
		}
		if !shadowed {
			e.Labels = append(e.Labels, l)
		}
	}
	if e.Service == "" {
		e.Service = "unknown"
	}
	if e.Access == event.AccessUnknown {
		e.Access = event.DeriveAccess(e.Method, e.Action)
	}
	if a, err := netip.ParseAddr(e.SourceIP); err == nil {
		e.SourceIP = a.Unmap().String()
	}
	return e, true
}

var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$`)

func unquote(raw jsontext.Value) (s string, whole bool) {
	b, err := jsontext.AppendUnquote(nil, raw)
	return string(b), err == nil
}

func oracleField(e *event.Event, key string, raw jsontext.Value, named, other *[]event.Label) bool {
	text := map[string]*string{
		"id": &e.ID, "agent_id": &e.AgentID, "action": &e.Action, "method": &e.Method, "service": &e.Service,
		"resource": &e.Resource, "destination": &e.Destination, "credential_id": &e.CredentialID, "owner_id": &e.OwnerID,
		"session_id": &e.SessionID, "trace_id": &e.TraceID, "agent_version": &e.AgentVersion, "cohort": &e.Cohort,
		"source_ip": &e.SourceIP, "user_agent": &e.UserAgent, "community": &e.Community, "reply_to": &e.ReplyTo, "content": &e.Content,
	}
	limits := map[string]int{"id": 128, "agent_id": 256, "action": 128}
	kind := raw.Kind()
	if kind == 'n' {
		return limits[key] == 0 && key != "time" && key != "kind"
	}
	if dst := text[key]; dst != nil {
		s, whole := unquote(raw)
		*dst = s
		return kind == '"' && (limits[key] == 0 || whole && s != "" && len(s) <= limits[key])
	}
	integer := func(low, high int64) (int64, bool) {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		return n, kind == '0' && err == nil && n >= low && n <= high
	}
	list := func(dst *[]string) bool {
		if kind != '[' {
			return false
		}
		in := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		in.ReadToken()
		for in.PeekKind() != ']' {
			v, err := in.ReadValue()
			if err != nil || v.Kind() != '"' {
				return false
			}
			s, _ := unquote(v)
			*dst = append(*dst, s)
		}
		return true
	}
	scalar := func(v jsontext.Value) string {
		if v.Kind() == '"' {
			s, _ := unquote(v)
			return s
		}
		return string(v)
	}
	var ok bool
	var n int64
	switch key {
	case "time":
		if kind == '"' {
			s, _ := unquote(raw)
			if !rfc3339.MatchString(s) {
				return false // time.Parse takes more
			}
			t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
			e.Time = t.UnixMicro()
			return err == nil
		}
		n, ok = integer(math.MinInt64/1000, math.MaxInt64/1000)
		e.Time = n * 1000
		return ok
	case "kind":
		s, _ := unquote(raw)
		e.Kind = map[string]event.Kind{"post": event.Post, "api_call": event.APICall}[s]
		return kind == '"' && e.Kind != event.KindUnknown
	case "access":
		s, _ := unquote(raw)
		e.Access, ok = event.ParseAccess(s)
		return kind == '"' && ok
	case "asn":
		n, ok = integer(0, math.MaxUint32)
		e.ASN = uint32(n)
		return ok
	case "status":
		n, ok = integer(math.MinInt32, math.MaxInt32)
		e.Status = int32(n)
		return ok
	case "request_bytes":
		e.RequestBytes, ok = integer(0, math.MaxInt64)
		return ok
	case "response_bytes":
		e.ResponseBytes, ok = integer(0, math.MaxInt64)
		return ok
	case "duration_ms":
		f, err := strconv.ParseFloat(string(raw), 64)
		e.DurationMS = f
		return kind == '0' && err == nil && f >= 0
	case "on_behalf_of":
		return list(&e.OnBehalfOf)
	case "mentions":
		return list(&e.Mentions)
	case "labels":
		if kind != '{' {
			return false
		}
		in := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		in.ReadToken()
		seen := map[string]bool{}
		for in.PeekKind() != '}' {
			tok, err := in.ReadToken()
			if err != nil {
				return false
			}
			k := tok.String()
			v, err := in.ReadValue()
			if err != nil || seen[k] || v.Kind() == '{' || v.Kind() == '[' {
				return false
			}
			seen[k] = true
			if v.Kind() != 'n' {
				*named = append(*named, event.Label{Key: k, Value: scalar(v)})
			}
		}
		return true
	}
	if kind != '{' && kind != '[' {
		*other = append(*other, event.Label{Key: key, Value: scalar(raw)})
	}
	return true
}

// FuzzDecode holds the scanner to the oracle: the same messages accepted, the same events made of them.
func FuzzDecode(f *testing.F) {
	const head = `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"x"`
	for _, s := range []string{
		whole, head + `}`, head + `} x}`, head + `,"x":[{"a":[1,2.5e-3,"\u00e9",null,true]},{}]}`, head + `,"labels":{"a":"b","c":-0.0,"d":false}}`,
		head + `,"content":"\ud83d\ude00\udc00\n\\\""}`, head + ",\"content\":\"\xff\xc3(\"}", head + `,"mentions":["b",""],"on_behalf_of":[]}`,
		head + `,"duration_ms":1e-400}`, head + `,"duration_ms":123456789.125}`, head + `,"source_ip":"::ffff:1.2.3.4","asn":4294967295}`,
		`{"id":"e","time":"2026-03-27T10:00:00.123456789-07:00","kind":"api_call","agent_id":"a","action":"x","x":1,"\u0078":2}`,
	} {
		f.Add([]byte(s))
	}
	var d decode.Decoder
	f.Fuzz(func(t *testing.T, msg []byte) {
		var got event.Event
		err := d.Decode(msg, now, &got)
		if err == nil && len(got.Secrets) > 0 {
			t.Skip("redaction has its own tests")
		}
		want, ok := oracle(msg, now)
		if ok != (err == nil) {
			switch {
			case ok && strings.Contains(err.Error(), "512 deep"): // the oracle goes deeper
			case !ok && bytes.Contains(msg, []byte(":60")): // the oracle knows no leap second
			default:
				t.Fatalf("oracle says %v, the decoder %v: %q", ok, err, msg)
			}
			return
		}
		if ok {
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%q\n%s", msg, diff)
			}
		}
	})
}
