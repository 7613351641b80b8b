package decode_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

var update = flag.Bool("update", false, "write golden files anew")

// decoded is what a message becomes.
func decoded(f *decode.Formats, m decode.Message) (events []event.Event, err error) {
	var all []*event.Event
	err = f.Decode(m, now, func() *event.Event {
		all = append(all, new(event.Event))
		return all[len(all)-1]
	})
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		events = append(events, *e)
	}
	return events, nil
}

func show(f *decode.Formats, m decode.Message) []byte {
	events, err := decoded(f, m)
	var out bytes.Buffer
	r := f.Last()
	fmt.Fprintf(&out, "format %q envelope %q producer %q passed over %d\n", r.Format, r.Envelope, r.Producer, r.Passed)
	if err != nil {
		fmt.Fprintln(&out, "rejected:", err)
	}
	for i := range events {
		out.Write(decode.AppendEvent(nil, &events[i]))
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/formats/*.json")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d messages, %v", len(names), err)
	}
	f := &decode.Formats{}
	for _, name := range names {
		msg, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, strings.TrimSuffix(name, ".json")+".golden", show(f, decode.Message{Value: msg}))
	}
	headers := []decode.Header{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_type", Value: []byte("com.example.someevent")},
		{Key: "ce_source", Value: []byte("/mycontext/subcontext")}, {Key: "ce_id", Value: []byte("1234-1234-1234")},
		{Key: "ce_time", Value: []byte("2018-04-05T03:56:24Z")}, {Key: "content-type", Value: []byte("application/avro")},
	}
	// The example of the Kafka protocol binding, section 3.2.5, as it stands, and with data that is an event.
	golden(t, "testdata/formats/cloudevents_kafka_avro.golden", show(f, decode.Message{Value: []byte{1, 2}, Headers: headers}))
	headers[5].Value = []byte("application/json; charset=utf-8")
	golden(t, "testdata/formats/cloudevents_kafka_json.golden", show(f, decode.Message{Headers: headers,
		Value: []byte(`{"kind":"api_call","agent_id":"a","action":"post.get"}`)}))
	headers[5].Value = []byte("application/x-protobuf")
	golden(t, "testdata/formats/cloudevents_kafka_otlp.golden", show(f, decode.Message{Headers: headers, Value: marshal(t, agentExport())}))
	golden(t, "testdata/formats/otlp_protobuf.golden", show(f, decode.Message{Value: marshal(t, agentExport())}))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s\n%s", name, diff)
	}
}

func marshal(t interface{ Fatal(...any) }, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

// export is one span with these attributes, of a service.
func export(service []*common.KeyValue, span ...*trace.Span) *trace.TracesData {
	return &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource: &resource.Resource{Attributes: service}, ScopeSpans: []*trace.ScopeSpans{{Spans: span}},
	}}}
}

func span(n byte, attributes ...*common.KeyValue) *trace.Span {
	return &trace.Span{TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{n}, 8), Name: "s",
		StartTimeUnixNano: 1_544_712_660_000_000_000, EndTimeUnixNano: 1_544_712_660_500_000_000, Attributes: attributes}
}

func agentExport() *trace.TracesData {
	return export([]*common.KeyValue{text("service.name", "s")}, span(1, text("gen_ai.operation.name", "execute_tool"),
		text("gen_ai.tool.name", "search"), text("gen_ai.agent.id", "a")))
}

// toJSON writes an export as OTLP/JSON: protobuf's mapping, with ids in hexadecimal and enums as numbers.
func toJSON(t interface{ Fatal(...any) }, m *trace.TracesData) []byte {
	raw, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, k := range []string{"traceId", "spanId", "parentSpanId"} {
				if s, ok := v[k].(string); ok {
					b, err := base64.StdEncoding.DecodeString(s)
					if err != nil {
						t.Fatal(err)
					}
					v[k] = strings.ToUpper(hex.EncodeToString(b))
				}
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(tree)
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Both encodings of one export become the same events, or are refused for the same reason.
func TestEncodingsOfAnExportAgree(t *testing.T) {
	var value *rapid.Generator[*common.AnyValue]
	value = rapid.Custom(func(t *rapid.T) *common.AnyValue {
		switch rapid.IntRange(0, 8).Draw(t, "type") {
		case 7:
			return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: rapid.SliceOfN(value, 0, 2).Draw(t, "array")}}}
		case 8:
			list := &common.KeyValueList{}
			for range rapid.IntRange(0, 2).Draw(t, "length") {
				list.Values = append(list.Values, &common.KeyValue{Key: rapid.String().Draw(t, "key"), Value: value.Draw(t, "value")})
			}
			return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: list}}
		case 0:
			return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: rapid.Int64().Draw(t, "int")}}
		case 1:
			return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: rapid.Float64().Draw(t, "double")}}
		case 2:
			return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: rapid.Bool().Draw(t, "bool")}}
		case 3:
			return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "bytes")}}
		case 4:
			return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{}}}
		}
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: rapid.OneOf(rapid.String(),
			rapid.SampledFrom([]string{"chat", "execute_tool", "tools/call", "200", "-1", ""})).Draw(t, "string")}}
	})
	keys := []string{"gen_ai.operation.name", "mcp.method.name", "gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.tool.name", "service.name",
		"http.request.body.size", "error.type", "user.id", "gen_ai.tool.call.arguments", "gen_ai.output.messages", "gen_ai.tool.call.result", "server.address", "x", "y"}
	attributes := rapid.Custom(func(t *rapid.T) (list []*common.KeyValue) {
		for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, 8, rapid.ID).Draw(t, "keys") {
			list = append(list, &common.KeyValue{Key: k, Value: value.Draw(t, k)})
		}
		if rapid.IntRange(0, 20).Draw(t, "twice") == 0 && len(list) > 0 {
			list = append(list, list[0])
		}
		return list
	})
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		m := &trace.TracesData{}
		for range rapid.IntRange(0, 2).Draw(t, "resources") {
			one := export(attributes.Draw(t, "resource"))
			for range rapid.IntRange(0, 4).Draw(t, "spans") {
				s := span(byte(rapid.IntRange(0, 5).Draw(t, "id")), attributes.Draw(t, "attributes")...)
				if p := rapid.IntRange(0, 5).Draw(t, "parent"); p > 0 {
					s.ParentSpanId = bytes.Repeat([]byte{byte(p)}, 8)
				}
				s.StartTimeUnixNano = rapid.SampledFrom([]uint64{0, 1, 1_544_712_660_000_000_001}).Draw(t, "start")
				s.Status = &trace.Status{Code: trace.Status_StatusCode(rapid.IntRange(0, 2).Draw(t, "status")), Message: rapid.String().Draw(t, "message")}
				one.ResourceSpans[0].ScopeSpans[0].Spans = append(one.ResourceSpans[0].ScopeSpans[0].Spans, s)
			}
			m.ResourceSpans = append(m.ResourceSpans, one.ResourceSpans...)
		}
		if len(m.ResourceSpans) == 0 {
			return // no bytes at all as protobuf
		}
		var f decode.Formats
		asJSON, err1 := decoded(&f, decode.Message{Value: toJSON(t, m)})
		asProto, err2 := decoded(&f, decode.Message{Value: marshal(t, m), Headers: []decode.Header{{Key: "Content-Type", Value: []byte("application/x-protobuf")}}})
		if fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Fatalf("JSON %v, protobuf %v", err1, err2)
		}
		if diff := cmp.Diff(asJSON, asProto, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		accepted += len(asJSON)
	})
	if accepted == 0 {
		t.Error("no event came of any export")
	}
}

// wrap is the same thing to keep, said in each format.
func formatsOf(label, jsonValue string) map[string]decode.Message {
	native := `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"x",` + label + `:` + jsonValue + `}`
	ocsf := `{"class_uid":6003,"metadata":{"uid":"e"},"time":1,"ai_agent":{"uid":"a"},"api":{"operation":"x"},` + label + `:` + jsonValue + `}`
	return map[string]decode.Message{
		"native": {Value: []byte(native)},
		"ocsf":   {Value: []byte(ocsf)},
		"nested": {Value: []byte(`{"class_uid":6003,"metadata":{"uid":"e"},"time":1,"ai_agent":{"uid":"a"},"api":{"operation":"x"},"unmapped":{` + label + `:` + jsonValue + `}}`)},
		"ce":     {Value: []byte(`{"specversion":"1.0","id":"i","source":"s","type":"t","data":` + native + `}`)},
		"ce_ext": {Value: []byte(`{"specversion":"1.0","id":"i","source":"s","type":"t",` + label + `:` + jsonValue + `,"data":{"agent_id":"a","kind":"post","action":"x","time":1}}`)},
	}
}

// Whatever is scalar and unknown is kept as a label, in every format.
func TestUnknownScalarsAreKept(t *testing.T) {
	name := rapid.StringMatching(`zz[a-z0-9]{0,10}`)
	rapid.Check(t, func(t *rapid.T) {
		key := name.Draw(t, "key")
		var raw, want string
		switch rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			want = rapid.String().Draw(t, "text")
			b, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			raw = string(b)
		case 1:
			raw = fmt.Sprint(rapid.Int64().Draw(t, "integer"))
			want = raw
		case 2:
			raw = "1" + strings.Repeat("0", rapid.IntRange(1, 4000).Draw(t, "huge"))
			want = raw
		case 3:
			raw = fmt.Sprint(rapid.Bool().Draw(t, "bool"))
			want = raw
		}
		var f decode.Formats
		for format, m := range formatsOf(`"`+key+`"`, raw) {
			label := map[string]string{"nested": "unmapped." + key, "ce_ext": "ce_" + key}[format]
			if label == "" {
				label = key
			}
			events, err := decoded(&f, m)
			if err != nil || len(events) != 1 {
				t.Fatalf("%s: %v, %d events", format, err, len(events))
			}
			if len(events[0].Secrets) == 0 && !slices.Contains(events[0].Labels, event.Label{Key: label, Value: want}) {
				t.Fatalf("%s: %q, want %s = %s", format, events[0].Labels, label, want)
			}
		}
	})
}

// What is hostile is refused in every format with the same code; what nests is followed no further than 512 levels.
func TestHostileInEveryFormat(t *testing.T) {
	var f decode.Formats
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for _, c := range []struct{ label, value, code string }{
		{`"x"`, deep, event.CodeBadJSON},
		{`"x"`, strings.Repeat(`{"a":`, 600) + "1" + strings.Repeat("}", 600), event.CodeBadJSON},
		{`"x"`, `1,"x":2`, event.CodeDuplicateKey},
		{`"x"`, `1,"\u0078":2`, event.CodeDuplicateKey},
		{`"x"`, `01`, event.CodeBadJSON},
		{`"x"`, `1}{`, event.CodeBadJSON},
		{`"x"`, `"` + strings.Repeat("x", 1<<20) + `"`, event.CodeTooLarge},
	} {
		for format, m := range formatsOf(c.label, c.value) {
			_, err := decoded(&f, m)
			var r *event.Rejection
			if format == "ce_ext" && c.code == event.CodeBadJSON && errors.As(err, &r) && r.Code == event.CodeWrongType {
				continue // an attribute of a CloudEvent is a scalar, however deep it is
			}
			if !errors.As(err, &r) || r.Code != c.code {
				t.Errorf("%s, %.30s: %v, want %s", format, c.value, err, c.code)
			}
		}
	}
	const head = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",`
	const op = `"attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}`
	const end = `}]}]}]}`
	ocsf := func(s string) string {
		return `{"class_uid":6003,"metadata":{"uid":"e"},"ai_agent":{"uid":"a"},"api":{"operation":"x"},` + s + `}`
	}
	ce := func(s string) string { return `{"specversion":"1.0","source":"s","type":"t",` + s + `}` }
	for _, c := range []struct{ msg, code, field string }{
		{head + `"startTimeUnixNano":"1",` + op + `]` + end, "", ""},
		{head + `"startTimeUnixNano":"99999999999999999999",` + op + `]` + end, "bad_value", "startTimeUnixNano"},
		{head + `"startTimeUnixNano":1e3,` + op + `]` + end, "bad_value", "startTimeUnixNano"},
		{head + `"startTimeUnixNano":"9223372036854775807",` + op + `]` + end, "future_time", "time"},
		{head + op + `]` + end, "missing_field", "time"},
		{head + `"startTimeUnixNano":"1",` + op + `,{"key":"k","value":{"intValue":"9223372036854775808"}}]` + end, "bad_value", "attributes.value"},
		{head + `"startTimeUnixNano":"1",` + op + `,{"key":"k","value":{"doubleValue":1e400}}]` + end, "bad_value", "attributes.value"},
		{head + `"startTimeUnixNano":"1",` + op + `,{"key":"k","value":{"stringValue":"1","intValue":1}}]` + end, "bad_value", "attributes.value"},
		{head + `"startTimeUnixNano":"1",` + op + `,{"key":"gen_ai.operation.name","value":{"stringValue":"x"}}]` + end, "duplicate_key", `"gen_ai.operation.name"`},
		{head + `"startTimeUnixNano":"1",` + op + `,{"key":"http.request.size","value":{"intValue":-1}}]` + end, "bad_value", "request_bytes"},
		{head + `"startTimeUnixNano":"1","startTimeUnixNano":"1",` + op + `]` + end, "duplicate_key", `"startTimeUnixNano"`},
		{strings.Replace(head, "5b8e", "zz8e", 1) + `"startTimeUnixNano":"1",` + op + `]` + end, "bad_value", "traceId"},
		{strings.Replace(head, "eee19b7ec3c1b174", "0000000000000000", 1) + `"startTimeUnixNano":"1",` + op + `]` + end, "missing_field", "id"},
		{strings.Replace(head, "service.name", "other", 1) + `"startTimeUnixNano":"1",` + op + `]` + end, "missing_field", "agent_id"},
		{`{"resourceSpans":{}}`, "wrong_type", "resourceSpans"},
		{`{"resourceSpans":[1]}`, "wrong_type", "resourceSpans"},
		{ocsf(`"time":1`), "", ""},
		{ocsf(`"time":99999999999999999999`), "bad_value", "time"},
		{ocsf(`"time":1.5`), "bad_value", "time"},
		{ocsf(`"time":"1"`), "wrong_type", "time"},
		{ocsf(`"x":1`), "missing_field", "time"},
		{ocsf(`"time":1,"http_request":{"length":-1}`), "bad_value", "request_bytes"},
		{ocsf(`"time":1,"http_request":{"http_method":7}`), "wrong_type", "method"},
		{strings.Replace(ocsf(`"time":1`), "6003", "6002", 1), "unsupported", "class_uid"},
		{strings.Replace(ocsf(`"time":1`), "6003", "60030000000000000000000", 1), "bad_value", "class_uid"},
		{`{"class_uid":6003,"time":1,"ai_agent":{"uid":"a"},"api":{"operation":"x"}}`, "missing_field", "id"},
		{`{"class_uid":6003,"metadata":{"uid":"e"},"time":1,"api":{"operation":"x"}}`, "missing_field", "agent_id"},
		{"{\"class_uid\":6003,\"metadata\":{\"uid\":\"e\"},\"time\":1,\"ai_agent\":{\"uid\":\"\xff\"},\"api\":{\"operation\":\"x\"}}", "invalid_utf8", "agent_id"},
		{ce(`"id":"i"`), "missing_field", "data"},
		{ce(`"data":{}`), "missing_field", "id"},
		{ce(`"id":"","data":{}`), "empty", "id"},
		{ce(`"id":7,"data":{}`), "wrong_type", "id"},
		{ce(`"id":"i","time":"yesterday","data":{}`), "bad_time", "time"},
		{ce(`"id":"i","data":{},"data_base64":"e30="`), "bad_value", "data"},
		{ce(`"id":"i","datacontenttype":"application/json","data_base64":"{"`), "bad_value", "data_base64"},
		{ce(`"id":"i","data":{"specversion":"1.0"}`), "unsupported", "data"},
		{strings.Replace(ce(`"id":"i","data":{}`), "1.0", "0.3", 1), "unsupported", "specversion"},
	} {
		_, err := decoded(&f, decode.Message{Value: []byte(c.msg)})
		var r *event.Rejection
		switch {
		case c.code == "" && err != nil:
			t.Errorf("%.200s: %v", c.msg, err)
		case c.code != "" && (!errors.As(err, &r) || r.Code != c.code || r.Field != c.field):
			t.Errorf("%.300s: got %v, want %s of %s", c.msg, err, c.code, c.field)
		}
	}
}

// Many tiny values do not become many large ones.
func TestManyValues(t *testing.T) {
	var f decode.Formats
	for format, m := range formatsOf(`"x"`, "["+strings.Repeat("0,", 200_000)+"0]") {
		_, err := decoded(&f, m)
		var r *event.Rejection
		switch {
		case format == "native" || format == "ce": // passed over without being kept
			if err != nil {
				t.Errorf("%s: %v", format, err)
			}
		case format == "ce_ext" && errors.As(err, &r) && r.Code == event.CodeWrongType:
		case !errors.As(err, &r) || r.Code != event.CodeTooLarge:
			t.Errorf("%s: %v", format, err)
		}
	}
}

// Larger exports than a message are read where that is allowed, and no larger ones.
func TestLimit(t *testing.T) {
	m := agentExport()
	list := &m.ResourceSpans[0].ScopeSpans[0].Spans
	for i := range 200 {
		*list = append(*list, span(byte(i+2), text("gen_ai.operation.name", "chat"), text("x", strings.Repeat("y", 10_000))))
	}
	f := decode.Formats{Limit: 4 << 20}
	for _, value := range [][]byte{marshal(t, m), toJSON(t, m)} {
		if _, err := decoded(&decode.Formats{}, decode.Message{Value: value}); err == nil {
			t.Error("accepted beyond the limit")
		}
		if events, err := decoded(&f, decode.Message{Value: value}); err != nil || len(events) != 201 {
			t.Errorf("%v, %d events", err, len(events))
		}
		if _, err := decoded(&f, decode.Message{Value: append(value, make([]byte, 4<<20)...)}); err == nil {
			t.Error("accepted beyond a limit of 4 MiB")
		}
	}
	large := `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"x","content":"` + strings.Repeat("x", 1<<20) + `"}`
	if _, err := decoded(&f, decode.Message{Value: []byte(large)}); err == nil {
		t.Error("an event beyond the limit of one")
	}
}

func TestHostileProtobuf(t *testing.T) {
	var f decode.Formats
	typed := []decode.Header{{Key: "content-type", Value: []byte("application/x-protobuf")}}
	nested := &common.AnyValue{}
	for range 200 {
		nested = &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{nested}}}}
	}
	deep := agentExport()
	s := deep.ResourceSpans[0].ScopeSpans[0].Spans[0]
	s.Attributes = append(s.Attributes, &common.KeyValue{Key: "deep", Value: nested})
	bomb := marshal(t, deep)
	twice := agentExport()
	s = twice.ResourceSpans[0].ScopeSpans[0].Spans[0]
	s.Attributes = append(s.Attributes, s.Attributes[0])
	many := agentExport()
	s = many.ResourceSpans[0].ScopeSpans[0].Spans[0]
	for i := range 100 {
		s.Attributes = append(s.Attributes, text(fmt.Sprint("k", i%99), "v"))
	}
	future := agentExport()
	future.ResourceSpans[0].ScopeSpans[0].Spans[0].StartTimeUnixNano = 1<<64 - 1
	badText := bytes.Replace(marshal(t, agentExport()), []byte("search"), []byte("s\xffarch"), 1)
	// A megabyte of attributes on the resource, shared by many spans, would become gigabytes.
	wide := agentExport()
	wide.ResourceSpans[0].Resource.Attributes = append(wide.ResourceSpans[0].Resource.Attributes, text("big", strings.Repeat("x", 500_000)))
	for i := range 100 {
		wide.ResourceSpans[0].ScopeSpans[0].Spans = append(wide.ResourceSpans[0].ScopeSpans[0].Spans, span(byte(i+2), text("gen_ai.operation.name", "chat")))
	}
	for _, c := range []struct {
		name, code string
		value      []byte
	}{
		{"deep", "bad_protobuf", bomb}, {"duplicate", "duplicate_key", marshal(t, twice)}, {"duplicate of many", "duplicate_key", marshal(t, many)},
		{"future", "future_time", marshal(t, future)}, {"text", "bad_protobuf", badText}, {"cut", "bad_protobuf", bomb[:len(bomb)-1]},
		{"empty", "empty", nil}, {"wide", "too_large", marshal(t, wide)}, {"huge", "too_large", make([]byte, 1<<20+1)}, {"JSON", "bad_protobuf", []byte(`{"id":"e"}`)},
	} {
		_, err := decoded(&f, decode.Message{Value: c.value, Headers: typed})
		var r *event.Rejection
		if !errors.As(err, &r) || r.Code != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

// An export is told from JSON by its bytes alone, also where it begins with what JSON takes for white space and a
// brace; and JSON that begins with a line feed stays JSON.
func TestProtobufIsToldFromJSON(t *testing.T) {
	var f decode.Formats
	found := false
	for pad := range 200 {
		small := span(1, text("gen_ai.operation.name", "x"))
		small.Name, small.EndTimeUnixNano = "", 0
		m := export([]*common.KeyValue{text("service.name", "s")}, small)
		m.ResourceSpans[0].SchemaUrl = strings.Repeat("x", pad)
		value := marshal(t, m)
		found = found || value[1] == '{'
		events, err := decoded(&f, decode.Message{Value: value})
		if err != nil || len(events) != 1 || f.Last().Format != decode.OTLPProtobuf {
			t.Fatalf("pad %d: %v, %d events, %s", pad, err, len(events), f.Last().Format)
		}
	}
	if !found {
		t.Error("no export began with a line feed and a brace")
	}
	if _, err := decoded(&f, decode.Message{Value: []byte("\n" + whole)}); err != nil || f.Last().Format != decode.Native {
		t.Errorf("%v, %s", err, f.Last().Format)
	}
}

// A message with agent_id is native, whatever else is in it.
func TestNativeWithKeysOfOtherFormats(t *testing.T) {
	var f decode.Formats
	events, err := decoded(&f, decode.Message{Value: []byte(
		`{"class_uid":6003,"specversion":"1.0","resourceSpans":[],"id":"e","time":1,"kind":"post","agent_id":"a","action":"x"}`)})
	want := []event.Label{{Key: "class_uid", Value: "6003"}, {Key: "specversion", Value: "1.0"}}
	if err != nil || f.Last().Format != decode.Native || !slices.Equal(events[0].Labels, want) {
		t.Errorf("%v, %s, %v", err, f.Last().Format, events)
	}
}

// What an agent hands to a tool is its content also where it was recorded in structured form.
func TestCompositeArguments(t *testing.T) {
	m := agentExport()
	s := m.ResourceSpans[0].ScopeSpans[0].Spans[0]
	pair := func(k string, v *common.AnyValue) *common.KeyValue { return &common.KeyValue{Key: k, Value: v} }
	list := func(v ...*common.KeyValue) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: v}}}
	}
	s.Attributes = append(s.Attributes, pair("gen_ai.tool.call.arguments", list(text("to", "a\"b"), pair("n", &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 1 << 60}}),
		pair("f", &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: math.Inf(1)}}), pair("none", nil),
		pair("all", &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{list(), {Value: &common.AnyValue_BoolValue{BoolValue: true}}}}}}))))
	const want = `{"to":"a\"b","n":1152921504606846976,"f":"Infinity","none":null,"all":[{},true]}`
	var f decode.Formats
	for name, value := range map[string][]byte{"protobuf": marshal(t, m), "JSON": toJSON(t, m)} {
		events, err := decoded(&f, decode.Message{Value: value})
		if err != nil || events[0].Content != want || events[0].RequestBytes != int64(len(want)) || len(events[0].Labels) != 2 {
			t.Errorf("%s: %v, %+v", name, err, events)
		}
	}
}

// A repeated span has the same id whatever export it comes in, so that it is found to be a duplicate.
func TestRepeatedSpansHaveOneID(t *testing.T) {
	var f decode.Formats
	alone, err := decoded(&f, decode.Message{Value: marshal(t, agentExport())})
	if err != nil {
		t.Fatal(err)
	}
	more := agentExport()
	more.ResourceSpans = append(export(nil, span(7, text("gen_ai.operation.name", "chat"), text("gen_ai.agent.id", "b"))).ResourceSpans, more.ResourceSpans...)
	both, err := decoded(&f, decode.Message{Value: toJSON(t, more)})
	if err != nil || len(both) != 2 || both[1].ID != alone[0].ID || both[0].ID == both[1].ID {
		t.Errorf("%v, %v, %v", err, alone, both)
	}
}

// Lines keeps the secrets in, for the reader of the topic to find; one refused span does not take the others along.
func TestLines(t *testing.T) {
	m := agentExport()
	list := &m.ResourceSpans[0].ScopeSpans[0].Spans
	*list = append(*list, span(2, text("gen_ai.operation.name", "chat"), text("gen_ai.tool.call.arguments", "AKIAIOSFODNN7EXAMPLQ")), span(3))
	(*list)[0].SpanId = nil
	var f decode.Formats
	var lines, refused []string
	err := f.Lines(decode.Message{Value: marshal(t, m)}, now, func(l decode.Line, err error) {
		if err != nil {
			refused = append(refused, err.Error())
			return
		}
		lines = append(lines, l.AgentID+" "+string(l.Value))
	})
	if err != nil || len(lines) != 1 || len(refused) != 1 || !strings.Contains(lines[0], `"content":"AKIAIOSFODNN7EXAMPLQ"`) || !strings.HasPrefix(lines[0], "s {") {
		t.Errorf("%v, %q, %q", err, lines, refused)
	}
	if f.Last().Passed != 1 {
		t.Errorf("%d spans passed over, want 1", f.Last().Passed)
	}
	lines = nil
	if err := f.Lines(decode.Message{Value: []byte(whole)}, now, func(l decode.Line, err error) { lines = append(lines, string(l.Value)) }); err != nil || len(lines) != 1 {
		t.Errorf("%v, %q", err, lines)
	}
	if err := f.Lines(decode.Message{Value: []byte(`{}`)}, now, func(decode.Line, error) { t.Error("yielded") }); err == nil {
		t.Error("an empty object is no event")
	}
}

// FuzzFormats: no message crashes the decoder; what it accepts is complete, within the contract's limits, JSON that a
// strict reader takes too, and the same when it is written down and read again.
func FuzzFormats(f *testing.F) {
	names, err := filepath.Glob("testdata/formats/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		msg, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg, byte(0))
		f.Add(msg, byte(2))
	}
	f.Add([]byte(whole), byte(0))
	f.Add([]byte(`{"agent_id":"a","kind":"post","action":"x"}`), byte(3))
	f.Add(marshal(f, agentExport()), byte(0))
	f.Add(marshal(f, agentExport()), byte(1))
	f.Add(marshal(f, agentExport()), byte(4))
	binary := []decode.Header{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("i")},
		{Key: "ce_source", Value: []byte("s")}, {Key: "ce_type", Value: []byte("t")}, {Key: "ce_time", Value: []byte("2018-04-05T03:56:24Z")}}
	typed := func(list []decode.Header, kind string) []decode.Header {
		return append(slices.Clone(list), decode.Header{Key: "content-type", Value: []byte(kind)})
	}
	kinds := [][]decode.Header{nil, typed(nil, "application/x-protobuf"), typed(nil, "application/cloudevents+json"), binary, typed(binary, "application/protobuf")}
	var d decode.Formats
	f.Fuzz(func(t *testing.T, value []byte, kind byte) {
		m := decode.Message{Value: value, Headers: kinds[int(kind)%len(kinds)]}
		events, err := decoded(&d, m)
		var r *event.Rejection
		if err != nil {
			if !errors.Is(err, decode.ErrNone) && !errors.As(err, &r) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if d.Last().Format != decode.OTLPProtobuf && len(value) > 0 && value[0] == '{' &&
			!jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Fatalf("accepted, and is not JSON: %q", value)
		}
		var again decode.Decoder
		for i := range events {
			e := &events[i]
			if e.ID == "" || len(e.ID) > event.MaxID || e.AgentID == "" || len(e.AgentID) > event.MaxAgentID || e.Action == "" || e.Time < 0 || e.Service == "" {
				t.Fatalf("incomplete: %+v", e)
			}
			line := decode.AppendEvent(nil, e)
			if len(line) > event.MaxMessage {
				continue
			}
			var back event.Event
			if err := again.Decode(line, now, &back); err != nil {
				if errors.As(err, &r) && r.Code == event.CodeDuplicateKey {
					t.Fatalf("a label stands twice: %s", line)
				}
				t.Fatalf("%v: %s", err, line)
			}
			if len(e.Secrets) == 0 && len(back.Secrets) == 0 {
				if diff := cmp.Diff(*e, back, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s\n%s", line, diff)
				}
			}
		}
	})
}
