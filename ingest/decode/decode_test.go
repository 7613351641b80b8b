package decode_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

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
		{with("time", `"yesterday"`), "bad_time", "time"},
		{with("time", `1.5`), "bad_time", "time"},
		{with("time", `99999999999999`), "future_time", "time"},
		{with("time", `1e400`), "bad_time", "time"},
		{with("kind", `"vote"`), "bad_value", "kind"},
		{with("agent_id", "null"), "wrong_type", "agent_id"},
		{with("access", `"execute"`), "bad_value", "access"},
		{with("status", `"200"`), "wrong_type", "status"},
		{with("request_bytes", `-1`), "bad_value", "request_bytes"},
		{with("duration_ms", `1e999`), "bad_value", "duration_ms"},
		{with("mentions", `[1]`), "wrong_type", "mentions"},
		{with("labels", `[]`), "wrong_type", "labels"},
		{`{"id":"a","id":"b"}`, "duplicate_key", "id"},
		{with("", "") + "x", "bad_json", ""},
		{with("", "") + "{}", "bad_json", ""},
		{`[]`, "bad_json", ""}, {``, "empty", ""}, {" \n", "empty", ""}, {`{"id":"a"`, "bad_json", ""},
		{`{}`, "missing_field", "id"}, {"\x00", "bad_json", ""}, {"\xef\xbb\xbf{}", "bad_json", ""},
		{with("time", "-1"), "bad_time", "time"}, {with("time", "null"), "wrong_type", "time"}, {with("time", "1.0"), "bad_time", "time"},
		{with("time", `"2026-02-29T00:00:00Z"`), "bad_time", "time"}, {with("time", `"2026-03-27 10:00:00Z"`), "bad_time", "time"},
		{with("time", `"2026-03-27T10:00:00"`), "bad_time", "time"}, {with("time", "99999999999999999999"), "bad_time", "time"},
		{with("agent_id", `"`+strings.Repeat("x", 257)+`"`), "too_long", "agent_id"},
		{with("action", `"`+strings.Repeat("x", 129)+`"`), "too_long", "action"},
		{with("agent_id", `"\ud800"`), "invalid_utf8", "agent_id"}, {with("action", "\"\xc3(\""), "invalid_utf8", "action"},
		{with("kind", "\"\xff\""), "invalid_utf8", "kind"}, {with("kind", "null"), "wrong_type", "kind"},
		{with("content", "5"), "wrong_type", "content"}, {with("content", `"`+"a\nb"+`"`), "bad_json", ""},
		{with("content", `"\x"`), "bad_json", ""}, {with("content", `"\u12g4"`), "bad_json", ""}, {with("content", `"abc`), "bad_json", ""},
		{with("asn", "4294967296"), "bad_value", "asn"}, {with("asn", "-1"), "bad_value", "asn"},
		{with("status", "2147483648"), "bad_value", "status"}, {with("status", "200.0"), "bad_value", "status"},
		{with("status", "1"+strings.Repeat("0", 5000)), "bad_value", "status"}, {with("status", "0200"), "bad_json", ""},
		{with("request_bytes", "9223372036854775808"), "bad_value", "request_bytes"},
		{with("duration_ms", "-0.1"), "bad_value", "duration_ms"}, {with("duration_ms", "NaN"), "bad_json", ""},
		{with("duration_ms", "1."), "bad_json", ""}, {with("duration_ms", ".5"), "bad_json", ""}, {with("duration_ms", "+1"), "bad_json", ""},
		{with("labels", `{"a":1,"a":2}`), "duplicate_key", "labels"}, {with("labels", `{"a":{}}`), "wrong_type", "labels"},
		{with("x", `1,"x":2`), "duplicate_key", `"x"`}, {with("x", `[],"x":{}`), "duplicate_key", `"x"`},
		{with("x", `1,"\u0078":2`), "duplicate_key", `"x"`}, {with("x", `1,"\u0069d":"f"`), "duplicate_key", "id"},
		{with("x", "01"), "bad_json", ""}, {with("x", "tru"), "bad_json", ""}, {with("x", "[1,]"), "bad_json", ""}, {with("x", `{"a":1,}`), "bad_json", ""},
		{with("x", `{"a" 1}`), "bad_json", ""}, {with("x", `{1:1}`), "bad_json", ""}, {with("x", `[1}`), "bad_json", ""}, {with("x", `["\q"]`), "bad_json", ""},
		{with("x", "1,"), "bad_json", ""}, {with("mentions", `["a",]`), "bad_json", ""}, {with("on_behalf_of", `"a"`), "wrong_type", "on_behalf_of"},
		{with("x", strings.Repeat("[", 513)+strings.Repeat("]", 513)), "bad_json", ""},
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

func TestWhatIsNotRequiredIsMended(t *testing.T) {
	const head = `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"post.create",`
	var d decode.Decoder
	var e event.Event
	for _, c := range []struct{ tail, want string }{
		{"\"content\":\"a\xff\xfeb\"}", "a\ufffd\ufffdb"},
		{`"content":"\ud83d\ude00 \ude00 \ud83d \ud83dx"}`, "\U0001F600 \ufffd \ufffd \ufffdx"},
		{`"content":"\"\\\/\b\f\n\r\t\u00e9\u0000"}`, "\"\\/\b\f\n\r\t\u00e9\x00"},
		{`"content":null,"labels":null,"status":null,"duration_ms":null,"mentions":null,"access":null}`, ""},
		{`"x":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + "}", ""},
	} {
		if err := d.Decode([]byte(head+c.tail), now, &e); err != nil {
			t.Errorf("%.80s: %v", c.tail, err)
		} else if e.Content != c.want {
			t.Errorf("%.80s: content %q, want %q", c.tail, e.Content, c.want)
		}
	}
}

// A field and a label may share a name; the label stays. A hundred thousand unknown fields are no attack.
func TestUnknownFields(t *testing.T) {
	const head = `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"post.create",`
	var d decode.Decoder
	var e event.Event
	for range 2 { // a reused decoder carries nothing over
		if err := d.Decode([]byte(head+`"x":"field","y":2.50,"n":null,"o":{},"labels":{"x":"label","z":true,"n":null}}`), now, &e); err != nil {
			t.Fatal(err)
		}
		want := []event.Label{{Key: "x", Value: "label"}, {Key: "z", Value: "true"}, {Key: "y", Value: "2.50"}}
		if diff := cmp.Diff(want, e.Labels); diff != "" {
			t.Fatal(diff)
		}
	}
	var b strings.Builder
	b.WriteString(head)
	for i := range 60_000 {
		fmt.Fprintf(&b, `"k%x":%d,`, i, i)
	}
	b.WriteString(`"last":1}`)
	if err := d.Decode([]byte(b.String()), now, &e); err != nil || len(e.Labels) != 60_001 {
		t.Fatalf("%v, %d labels", err, len(e.Labels))
	}
}

func TestTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.UnixMicro(rapid.Int64Range(0, 4_000_000_000_000_000).Draw(t, "micros"))
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone"))
		text := want.In(zone).Format(rapid.SampledFrom([]string{time.RFC3339Nano, "2006-01-02T15:04:05.000000000Z07:00"}).Draw(t, "layout"))
		var d decode.Decoder
		var e event.Event
		msg := `{"id":"e","time":"` + text + `","kind":"post","agent_id":"a","action":"x"}`
		if err := d.Decode([]byte(msg), math.MaxInt64/2, &e); err != nil || e.Time != want.UnixMicro() {
			t.Fatalf("%s: %v, %d, want %d", text, err, e.Time, want.UnixMicro())
		}
	})
	for text, want := range map[string]int64{
		"1970-01-01T00:00:00Z": 0, "1970-01-01t00:00:00.9999999z": 999_999, "2016-12-31T23:59:60Z": 1_483_228_800_000_000,
		"2024-02-29T00:00:00-00:00": 1_709_164_800_000_000, "2000-02-29T12:00:00+12:00": 951_782_400_000_000,
	} {
		var d decode.Decoder
		var e event.Event
		if err := d.Decode([]byte(`{"id":"e","time":"`+text+`","kind":"post","agent_id":"a","action":"x"}`), now, &e); err != nil || e.Time != want {
			t.Errorf("%s: %v, %d, want %d", text, err, e.Time, want)
		}
	}
}

func anyEvent(t *rapid.T) *event.Event {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "\"\\\x00\x1f\u2028", "\U0001F600"}))
	some := func(limit int) string {
		s := text.Filter(func(s string) bool { return s != "" && len(s) <= limit }).Draw(t, "required")
		return s
	}
	list := rapid.SliceOfN(text, 0, 3)
	e := &event.Event{
		ID: some(event.MaxID), Time: rapid.Int64Range(0, now).Draw(t, "time"), Kind: rapid.SampledFrom([]event.Kind{event.Post, event.APICall}).Draw(t, "kind"),
		Access:  rapid.SampledFrom([]event.Access{event.Read, event.Write, event.Delete, event.Auth, event.Admin}).Draw(t, "access"),
		AgentID: some(event.MaxAgentID), Action: some(event.MaxAction), Method: text.Draw(t, "method"), Service: some(1000),
		Resource: text.Draw(t, "resource"), Destination: text.Draw(t, "destination"), CredentialID: text.Draw(t, "credential"),
		OwnerID: text.Draw(t, "owner"), OnBehalfOf: list.Draw(t, "behalf"), SessionID: text.Draw(t, "session"), TraceID: text.Draw(t, "trace"),
		AgentVersion: text.Draw(t, "version"), Cohort: text.Draw(t, "cohort"), ASN: rapid.Uint32().Draw(t, "asn"),
		SourceIP:  rapid.SampledFrom([]string{"", "10.0.0.1", "2001:db8::1", "elsewhere"}).Draw(t, "ip"),
		UserAgent: text.Draw(t, "ua"), Status: rapid.Int32().Draw(t, "status"), RequestBytes: rapid.Int64Min(0).Draw(t, "request"),
		ResponseBytes: rapid.Int64Min(0).Draw(t, "response"), DurationMS: rapid.Float64Min(0).Draw(t, "duration"),
		Community: text.Draw(t, "community"), ReplyTo: text.Draw(t, "reply"), Mentions: list.Draw(t, "mentions"), Content: text.Draw(t, "content"),
	}
	for i, v := range list.Draw(t, "labels") {
		e.Labels = append(e.Labels, event.Label{Key: strconv.Itoa(i) + text.Draw(t, "key"), Value: v})
	}
	return e
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEvent(t)
		line := decode.AppendEvent(nil, want)
		var d decode.Decoder
		var got event.Event
		if err := d.Decode(line, now, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, &got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
	})
}

// Events whose strings are parts of the message are the same events as those that have a copy, and nothing else is.
func TestBorrowedEventsAreTheSame(t *testing.T) {
	for _, message := range []string{
		`{"id":"e1","time":1700000000000,"kind":"post","agent_id":"a","action":"post.create","content":"plain \u00e9 \n","mentions":["b","c"],"labels":{"k":"v"},"more":1}`,
		"{\"id\":\"e2\",\"time\":1700000000000,\"kind\":\"api_call\",\"agent_id\":\"a\",\"action\":\"get\",\"content\":\"bad \xff\",\"source_ip\":\"::ffff:10.0.0.1\"}",
		`{"id":"e3","time":1700000000000,"kind":"api_call","agent_id":"a","action":"get","content":"my key is ghp_0123456789abcdefghijABCDEFGHIJ012345"}`,
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"id":"e4","time":1700000000000,"kind":"api_call","agent_id":"a","action":"get"}}`,
		`{}`, ``, `[]`,
	} {
		var copied, borrowed event.Event
		read := func(f *decode.Formats, ev *event.Event) error {
			return f.Decode(decode.Message{Value: []byte(message)}, 1_800_000_000_000_000, func() *event.Event { return ev })
		}
		want, got := read(&decode.Formats{}, &copied), read(&decode.Formats{Borrow: true}, &borrowed)
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Errorf("%s: %v when borrowed, else %v", message, got, want)
		} else if d := cmp.Diff(copied, borrowed); want == nil && d != "" {
			t.Errorf("%s (-copied +borrowed):\n%s", message, d)
		}
	}
}
