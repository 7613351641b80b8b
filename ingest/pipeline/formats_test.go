package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Messages of several formats come through one decoder, each counted as what it is.
func TestFormatsAreToldApartAndCounted(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	turn := pipeline.NewFormats(nil, reg).Decode()
	const now = 1_800_000_000_000_000
	const native = `{"id":"e","time":1800000000000,"kind":"post","agent_id":"a","action":"x"}`
	const spans = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"spans":[
		{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","startTimeUnixNano":"1","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]},
		{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b175","startTimeUnixNano":"1","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]},
		{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b176","startTimeUnixNano":"1"}]}]}]}`
	header := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	for _, c := range []struct {
		m      kafka.Message
		events int
		err    error
	}{
		{kafka.Message{Value: []byte(native)}, 1, nil},
		{kafka.Message{Value: []byte(native), Headers: []kafka.Header{header("ce_id", "i"), header("ce_type", "t"), header("ce_source", "s"), header("ce_specversion", "1.0")}}, 1, nil},
		{kafka.Message{Value: []byte(spans)}, 2, nil},
		{kafka.Message{Value: []byte(`{"resourceSpans":[]}`)}, 0, decode.ErrNone},
		{kafka.Message{Value: []byte(`{"class_uid":1}`)}, 0, &event.Rejection{}},
		{kafka.Message{}, 0, &event.Rejection{}},
	} {
		var got []*event.Event
		err := turn(&c.m, now, func() *event.Event {
			got = append(got, new(event.Event))
			return got[len(got)-1]
		})
		var r *event.Rejection
		if c.err == nil && (err != nil || len(got) != c.events) || errors.As(c.err, &r) != errors.As(err, &r) || errors.Is(c.err, decode.ErrNone) != errors.Is(err, decode.ErrNone) {
			t.Errorf("%.60s: %v, %d events; want %v, %d", c.m.Value, err, len(got), c.err, c.events)
		}
	}
	want := `
# HELP astray_messages_total Messages decoded, by format.
# TYPE astray_messages_total counter
astray_messages_total{format="cloudevents_binary/native"} 1
astray_messages_total{format="native"} 2
astray_messages_total{format="ocsf"} 1
astray_messages_total{format="otlp_json"} 2
# HELP astray_messages_without_events_total Trace exports without a span of an agent's.
# TYPE astray_messages_without_events_total counter
astray_messages_without_events_total 1
# HELP astray_spans_passed_over_total Spans that are no agent's activity.
# TYPE astray_spans_passed_over_total counter
astray_spans_passed_over_total 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "astray_messages_total", "astray_messages_without_events_total", "astray_spans_passed_over_total"); err != nil {
		t.Error(err)
	}
}

// A producer's skew is the smallest delay seen of it: waiting does not look like a slow clock, and what was long ago is
// forgotten. The times of events are not touched.
func TestClockSkewIsMeasuredByProducer(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	turn := pipeline.NewFormats(nil, reg).Decode()
	const start = 1_800_000_000_000_000
	send := func(agent string, at, skew, delay time.Duration, headers ...kafka.Header) {
		record := start + at.Microseconds()
		sent := record - delay.Microseconds() + skew.Microseconds()
		var e event.Event
		m := kafka.Message{Time: record, Headers: headers, Value: fmt.Appendf(nil, `{"id":"e","time":%d,"kind":"post","agent_id":%q,"action":"x"}`, sent/1000, agent)}
		if err := turn(&m, record, func() *event.Event { return &e }); err != nil || e.Time != sent/1000*1000 {
			t.Fatalf("%v, time %d, sent %d", err, e.Time, sent)
		}
	}
	ms := time.Millisecond
	for i := range 60 {
		at := time.Duration(i) * time.Second
		send("good", at, 0, time.Duration(i%7)*200*ms)
		send("ahead", at, 30*time.Second, time.Duration(20+i%7)*ms)
		send("behind", at, -2*time.Minute, time.Duration(50+i%7*1000)*ms)
		send("b", at, -5*time.Second, 0, kafka.Header{Key: pipeline.ProducerHeader, Value: []byte("gateway")})
	}
	want := `
# HELP astray_producer_clock_skew_seconds How far a producer's clock is ahead of the broker's, the largest only.
# TYPE astray_producer_clock_skew_seconds gauge
astray_producer_clock_skew_seconds{producer="ahead"} 29.98
astray_producer_clock_skew_seconds{producer="behind"} -120.05
astray_producer_clock_skew_seconds{producer="gateway"} -5
# HELP astray_producers_skewed Producers whose clocks are off by a second or more.
# TYPE astray_producers_skewed gauge
astray_producers_skewed 3
# HELP astray_events_ahead_total Events more than a second ahead of their record.
# TYPE astray_events_ahead_total counter
astray_events_ahead_total 60
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "astray_producer_clock_skew_seconds", "astray_producers_skewed", "astray_events_ahead_total"); err != nil {
		t.Error(err)
	}
	// The clock of "ahead" is set right; two windows later nothing is left of it.
	for i := range 3 {
		send("ahead", time.Duration(i+1)*6*time.Minute, 0, 10*ms)
	}
	if n, err := testutil.GatherAndCount(reg, "astray_producer_clock_skew_seconds"); err != nil || n != 2 {
		t.Errorf("%d skewed, %v", n, err)
	}
}

// A million producers cost no more than those remembered.
func TestSkewForgets(t *testing.T) {
	s := pipeline.NewSkew(nil)
	for i := range 100_000 {
		s.Observe(fmt.Sprint("agent-", i), 10_000_000, 0)
	}
	if worst, count := s.Largest(20, time.Second); count > 8192 || count < 4096 || len(worst) != 20 {
		t.Errorf("%d remembered, %d shown", count, len(worst))
	}
}

// BenchmarkFormats is what a worker decodes with, counting and measuring included.
func BenchmarkFormats(b *testing.B) {
	const typical = `{"id":"0197f3a2c4d17b2e9f60a1b2c3d4e5f6","time":"2026-03-27T10:00:00.123456Z","kind":"api_call","agent_id":"agent-004217","action":"post.get","access":"read","method":"GET","service":"feed","resource":"post/8812345","credential_id":"key-004217-a","owner_id":"owner-21","session_id":"s-99120","cohort":"reader","source_ip":"10.21.4.217","asn":64512,"status":200,"response_bytes":1832,"x":1}`
	turn := pipeline.NewFormats(nil, nil).Decode()
	var e event.Event
	next := func() *event.Event { return &e }
	m := kafka.Message{Value: []byte(typical), Time: 1_800_000_000_000_000}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.Time += 5 // 200,000 a second
		if err := turn(&m, m.Time, next); err != nil {
			b.Fatal(err)
		}
	}
}
