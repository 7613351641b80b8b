package decode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

const now = 1_800_000_000_000_000

const whole = `{"id":"e1","time":"2026-03-27T10:00:00.5+02:00","kind":"api_call","agent_id":"a","action":"post.get","service":"feed",
"resource":"post/1","source_ip":"::ffff:10.0.0.1","asn":64500,"status":200,"request_bytes":1,"response_bytes":2,"duration_ms":1.5,
"on_behalf_of":["o"],"mentions":["b","c"],"labels":{"x":"y","n":1.50},"extra":true,"nested":{"a":[1]}}`

func TestWholeEvent(t *testing.T) {
	var d decode.Decoder
	var e event.Event
	if err := d.Decode([]byte(whole), now, &e); err != nil {
		t.Fatal(err)
	}
	if e.Time != 1774598400500000 || e.Access != event.Read || e.SourceIP != "10.0.0.1" || e.ASN != 64500 || e.Status != 200 ||
		len(e.Mentions) != 2 || len(e.OnBehalfOf) != 1 || e.DurationMS != 1.5 || e.ResponseBytes != 2 {
		t.Errorf("%+v", e)
	}
	want := []event.Label{{Key: "x", Value: "y"}, {Key: "n", Value: "1.50"}, {Key: "extra", Value: "true"}}
	if len(e.Labels) != len(want) {
		t.Fatalf("labels %v, want %v", e.Labels, want)
	}
	for i := range want {
		if e.Labels[i] != want[i] {
			t.Errorf("label %d is %v, want %v", i, e.Labels[i], want[i])
		}
	}
}

func TestRejectionsNameFieldAndRule(t *testing.T) {
	base := map[string]string{"id": `"e"`, "time": `1`, "kind": `"post"`, "agent_id": `"a"`, "action": `"post.create"`}
	with := func(k, v string) string {
		var b strings.Builder
		sep := "{"
		for _, f := range []string{"id", "time", "kind", "agent_id", "action"} {
			val := base[f]
			if f == k {
				val = v
			}
			if val != "" {
				b.WriteString(sep + `"` + f + `":` + val)
				sep = ","
			}
		}
		if k != "" && base[k] == "" {
			b.WriteString(`,"` + k + `":` + v)
		}
		return b.String() + "}"
	}
	var d decode.Decoder
	var e event.Event
	if err := d.Decode([]byte(with("", "")), now, &e); err != nil || e.Service != "unknown" || e.Access != event.Write {
		t.Fatalf("the base event: %v %+v", err, e)
	}
	for _, c := range []struct{ msg, code, field string }{
		{with("id", ""), "missing_field", "id"},
		{with("id", `""`), "empty", "id"},
		{with("id", `7`), "wrong_type", "id"},
		{with("id", `"`+strings.Repeat("x", 129)+`"`), "too_long", "id"},
		{with("time", ``), "missing_field", "time"},
		{with("time", `"yesterday"`), "bad_value", "time"},
		{with("time", `1.5`), "bad_value", "time"},
		{with("time", `99999999999999`), "future_time", "time"},
		{with("time", `1e400`), "bad_value", "time"},
		{with("kind", `"vote"`), "bad_value", "kind"},
		{with("agent_id", "null"), "wrong_type", "agent_id"},
		{with("access", `"execute"`), "bad_value", "access"},
		{with("status", `"200"`), "wrong_type", "status"},
		{with("request_bytes", `-1`), "bad_value", "request_bytes"},
		{with("duration_ms", `1e999`), "bad_value", "duration_ms"},
		{with("mentions", `[1]`), "wrong_type", "mentions"},
		{with("labels", `[]`), "wrong_type", "labels"},
		{`{"id":"a","id":"b"}`, "duplicate_key", `"id"`},
		{with("", "") + "x", "bad_json", ""},
		{with("", "") + "{}", "bad_json", ""},
		{`[]`, "bad_json", ""}, {``, "bad_json", ""}, {`{"id":"a"`, "bad_json", ""},
		{"{\"id\":\"\xff\"}", "invalid_utf8", "id"},
		{with("x", strings.Repeat("[", 100000)+strings.Repeat("]", 100000)), "bad_json", ""},
		{`"` + strings.Repeat("x", 1<<20) + `"`, "too_large", ""},
	} {
		err := d.Decode([]byte(c.msg), now, &e)
		var r *decode.Rejection
		if !errors.As(err, &r) || r.Code != c.code || r.Field != c.field {
			t.Errorf("%.80s: got %v, want %s of %s", c.msg, err, c.code, c.field)
		}
	}
}

// Bytes that are no text are replaced where the contract does not insist on the field.
func TestInvalidTextInOptionalFieldsIsReplaced(t *testing.T) {
	var d decode.Decoder
	var e event.Event
	msg := "{\"id\":\"e\",\"time\":1,\"kind\":\"post\",\"agent_id\":\"a\",\"action\":\"x\",\"content\":\"a\xffb\",\"mentions\":[\"\xfe\"],\"x\":\"\xfd\"}"
	if err := d.Decode([]byte(msg), now, &e); err != nil {
		t.Fatal(err)
	}
	if e.Content != "a\uFFFDb" || e.Mentions[0] != "\uFFFD" || e.Labels[0].Value != "\uFFFD" {
		t.Errorf("%q %q %q", e.Content, e.Mentions, e.Labels)
	}
}

// Whatever is accepted is valid JSON to a strict reader, and no input makes the decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"id":"e","time":1,"kind":"post","agent_id":"a","action":"x"} x}`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var d decode.Decoder
		var e event.Event
		if d.Decode(msg, now, &e) == nil && !json.Valid(bytes.ToValidUTF8(msg, []byte("?"))) {
			t.Errorf("accepted what is not JSON: %q", msg)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var d decode.Decoder
	var e event.Event
	b.ReportAllocs()
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		if err := d.Decode([]byte(whole), now, &e); err != nil {
			b.Fatal(err)
		}
	}
}
