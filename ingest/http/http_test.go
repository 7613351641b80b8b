package http_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/http"
	"github.com/astray-dev/astray/ingest/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "0123456789abcdef-gateway"
	small  = "0123456789abcdef-small"
)

func line(id, agent string) string {
	return fmt.Sprintf(`{"id":%q,"time":1774598400500,"kind":"api_call","agent_id":%q,"action":"post.get","note":"kept"}`, id, agent)
}

// bench is a server over a real producer and an in-process broker.
type bench struct {
	t      *testing.T
	broker *kfake.Cluster
	reader *kgo.Client
	server *http.Server
	front  *httptest.Server
	reg    *prometheus.Registry
	mu     sync.Mutex
	clock  time.Time
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

func start(t *testing.T, tune ...func(*http.Config)) *bench {
	b := &bench{t: t, reg: prometheus.NewPedanticRegistry(), clock: time.Unix(1_774_598_500, 0)}
	var err error
	if b.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.broker.Close)
	producer, err := kafka.NewProducer(kafka.Config{Brokers: b.broker.ListenAddrs(), Timeout: 2 * time.Second}, "events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.reader, err = kgo.NewClient(kgo.SeedBrokers(b.broker.ListenAddrs()...), kgo.ConsumeTopics("events")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.reader.Close)
	tokens, err := http.ParseTokens(strings.NewReader("# who may send\n\ngateway "+secret+"\nsmall "+small+" events=10 bytes=10000 body=2000\n"), http.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := http.Config{Producer: producer, Tokens: tokens, Registry: b.reg, Now: b.now, Timeout: 5 * time.Second, MaxBody: 64 << 10}
	for _, f := range tune {
		f(&cfg)
	}
	if b.server, err = http.New(cfg); err != nil {
		t.Fatal(err)
	}
	b.front = httptest.NewServer(b.server.Handler())
	t.Cleanup(func() {
		b.front.CloseClientConnections()
		b.front.Close()
	})
	return b
}

// records reads n records of the topic.
func (b *bench) records(n int) (all []*kgo.Record) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	for len(all) < n {
		f := b.reader.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			b.t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, f.Records()...)
	}
	return all
}

type answer struct {
	status int
	header nethttp.Header
	body   []byte
}

func (b *bench) post(path, contentType string, body []byte, header ...string) answer {
	b.t.Helper()
	r, err := nethttp.NewRequestWithContext(b.t.Context(), nethttp.MethodPost, b.front.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := b.front.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, text}
}

type outcome struct {
	Accepted, Rejected int
	Errors             []struct {
		Line                int
		Index               *int
		Code, Field, Reason string
	}
	Error string
}

func (a answer) outcome(t *testing.T) (o outcome) {
	t.Helper()
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return o
}

const ndjson = "application/x-ndjson"

// What was answered with 202 is on the topic, keyed by agent, once, readable as the same events; what was refused is
// named with its line.
func TestEventsAreOnTheTopicWhenAccepted(t *testing.T) {
	b := start(t)
	body := line("e1", "a") + "\n\n" + `{"id":"bad"}` + "\r\n" + line("e2", "b") + "\nnonsense\n" +
		`{"specversion":"1.0","id":"i","source":"s","type":"t","data":` + line("e3", "a") + `}`
	a := b.post("/v1/events", ndjson, []byte(body))
	o := a.outcome(t)
	if a.status != 202 || o.Accepted != 3 || o.Rejected != 2 || len(o.Errors) != 2 ||
		o.Errors[0].Line != 3 || o.Errors[0].Code != "missing_field" || o.Errors[0].Field != "time" || o.Errors[1].Line != 5 || o.Errors[1].Code != "bad_json" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	partition := map[string]int32{}
	var ids []string
	for _, r := range b.records(3) {
		var e event.Event
		if err := new(decode.Decoder).Decode(r.Value, 1_800_000_000_000_000, &e); err != nil || string(r.Key) != e.AgentID {
			t.Errorf("%v, key %s: %s", err, r.Key, r.Value)
		}
		if !slices.Contains(e.Labels, event.Label{Key: "note", Value: "kept"}) || len(r.Headers) != 1 || r.Headers[0].Key != "producer" || string(r.Headers[0].Value) != "gateway" {
			t.Errorf("%v %v", e.Labels, r.Headers)
		}
		if p, ok := partition[e.AgentID]; ok && p != r.Partition {
			t.Errorf("events of %s in two partitions", e.AgentID)
		}
		partition[e.AgentID] = r.Partition
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"e1", "e2", "e3"}) {
		t.Errorf("%v", ids)
	}
	want := `
# HELP astray_http_events_total Events acknowledged by the brokers.
# TYPE astray_http_events_total counter
astray_http_events_total{token="gateway"} 3
# HELP astray_http_rejected_total Events refused, by reason.
# TYPE astray_http_rejected_total counter
astray_http_rejected_total{code="bad_json"} 1
astray_http_rejected_total{code="missing_field"} 1
# HELP astray_http_requests_total Requests, by route and status.
# TYPE astray_http_requests_total counter
astray_http_requests_total{code="202",route="events"} 1
`
	if err := testutil.GatherAndCompare(b.reg, strings.NewReader(want), "astray_http_events_total", "astray_http_rejected_total", "astray_http_requests_total"); err != nil {
		t.Error(err)
	}
}

func compressed(t *testing.T, kind string, body []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if kind == "zstd" {
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArraysAndCompression(t *testing.T) {
	b := start(t)
	array := "[" + line("e1", "a") + ",\n{\"id\":\"bad\"},\n" + line("e2", "a") + "]"
	for _, kind := range []string{"", "gzip", "zstd"} {
		body := []byte(array)
		if kind != "" {
			body = compressed(t, kind, body)
		}
		a := b.post("/v1/events", "application/json; charset=utf-8", body, "Content-Encoding", kind)
		o := a.outcome(t)
		if a.status != 202 || o.Accepted != 2 || len(o.Errors) != 1 || o.Errors[0].Index == nil || *o.Errors[0].Index != 1 || o.Errors[0].Line != 2 {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
	}
	b.records(6)
	if a := b.post("/v1/events", "application/json", []byte("\n"+line("e", "a")+"\n")); a.status != 202 || a.outcome(t).Accepted != 1 {
		t.Errorf("one object: %d %s", a.status, a.body)
	}
	if a := b.post("/v1/events", ndjson, nil); a.status != 202 || a.outcome(t).Accepted != 0 {
		t.Errorf("nothing: %d %s", a.status, a.body)
	}
	for name, body := range map[string]string{"broken off": "[" + line("e1", "a") + ",", "trailing": "[]x", "text": "[1,]", "all refused": "[{}]", "not JSON": "hello"} {
		if a := b.post("/v1/events", "application/json", []byte(body)); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// An event that no topic takes does not take the others of its request along.
func TestOneEventTooLarge(t *testing.T) {
	b := start(t, func(c *http.Config) { c.MaxBody = 4 << 20 })
	large := strings.Replace(line("e1", "a"), "kept", strings.Repeat("x", 995_000), 1)
	beyond := strings.Replace(line("e1", "a"), "kept", strings.Repeat("x", 1<<20), 1)
	a := b.post("/v1/events", ndjson, []byte(large+"\n"+line("e2", "a")+"\n"+beyond))
	o := a.outcome(t)
	if a.status != 202 || o.Accepted != 1 || o.Rejected != 2 || o.Errors[0].Code != "too_large" || o.Errors[0].Line != 1 || o.Errors[1].Code != "too_large" || o.Errors[1].Line != 3 {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Many that fit one by one go through together, whatever they compress to.
	var body strings.Builder
	seed := uint64(1)
	for i := range 4 {
		noise := make([]byte, 700_000)
		for k := range noise {
			seed = seed*6364136223846793005 + 1442695040888963407
			noise[k] = 'a' + byte(seed>>33)%26
		}
		body.WriteString(strings.Replace(line(fmt.Sprint("n", i), "a"), "kept", string(noise), 1) + "\n")
	}
	if a := b.post("/v1/events", ndjson, []byte(body.String())); a.status != 202 {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.records(5)
}

// A stream of zstd asks for the window of its level, however little comes.
func TestZstdWindow(t *testing.T) {
	b := start(t)
	for window, status := range map[int]int{8 << 20: 202, 16 << 20: 413} {
		var out bytes.Buffer
		z, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := io.WriteString(z, line("e", "a")+"\n"); err != nil {
				t.Fatal(err)
			}
			if err := z.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if a := b.post("/v1/events", ndjson, out.Bytes(), "Content-Encoding", "zstd"); a.status != status {
			t.Errorf("window %d: %d %s", window, a.status, a.body)
		}
	}
}

func TestHostileRequests(t *testing.T) {
	b := start(t)
	zeros := bytes.Repeat([]byte(" "), 50<<20)
	ok := []byte(line("e", "a"))
	deep := []byte("[" + strings.Repeat("[", 5000))
	for _, c := range []struct {
		name, path, kind string
		body             []byte
		header           []string
		status           int
	}{
		{"no token", "/v1/events", ndjson, ok, []string{"Authorization", ""}, 401},
		{"wrong token", "/v1/events", ndjson, ok, []string{"Authorization", "Bearer " + secret + "x"}, 401},
		{"half a token", "/v1/events", ndjson, ok, []string{"Authorization", "Bearer " + secret[:10]}, 401},
		{"basic", "/v1/events", ndjson, ok, []string{"Authorization", "Basic " + secret}, 401},
		{"no token, traces", "/v1/traces", "application/x-protobuf", ok, []string{"Authorization", ""}, 401},
		{"form", "/v1/events", "text/plain", ok, nil, 415},
		{"no type", "/v1/events", "", ok, nil, 415},
		{"brotli", "/v1/events", ndjson, ok, []string{"Content-Encoding", "br"}, 415},
		{"twice compressed", "/v1/events", ndjson, ok, []string{"Content-Encoding", "gzip, gzip"}, 415},
		{"large", "/v1/events", ndjson, zeros[:70<<10], nil, 413},
		{"large for the token", "/v1/events", ndjson, zeros[:2001], []string{"Authorization", "Bearer " + small}, 413},
		{"gzip bomb", "/v1/events", ndjson, compressed(t, "gzip", zeros), []string{"Content-Encoding", "gzip"}, 413},
		{"zstd bomb", "/v1/events", ndjson, compressed(t, "zstd", zeros), []string{"Content-Encoding", "zstd"}, 413},
		{"not gzip", "/v1/events", ndjson, ok, []string{"Content-Encoding", "gzip"}, 400},
		{"not zstd", "/v1/events", ndjson, ok, []string{"Content-Encoding", "zstd"}, 400},
		{"cut gzip", "/v1/events", ndjson, compressed(t, "gzip", ok)[:40], []string{"Content-Encoding", "gzip"}, 400},
		{"deep", "/v1/events", "application/json", deep, nil, 400},
		{"elsewhere", "/v1/metrics", "application/json", ok, nil, 404},
	} {
		a := b.post(c.path, c.kind, c.body, c.header...)
		if a.status != c.status {
			t.Errorf("%s: %d %q, want %d", c.name, a.status, a.body, c.status)
		}
		if bytes.Contains(a.body, []byte(secret[:10])) || c.status == 401 && a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %v %q", c.name, a.header, a.body)
		}
	}
	res, err := b.front.Client().Get(b.front.URL + "/v1/events")
	if err != nil || res.StatusCode != 405 {
		t.Fatalf("%v, %v", res, err)
	}
	res.Body.Close()
}

// A token's rate is its own: what is beyond it waits, and is told how long.
func TestRateOfAToken(t *testing.T) {
	b := start(t)
	send := func(token string, n int) answer {
		var body strings.Builder
		for i := range n {
			body.WriteString(line(fmt.Sprint("e", i), "a") + "\n")
		}
		return b.post("/v1/events", ndjson, []byte(body.String()), "Authorization", "Bearer "+token)
	}
	if a := send(small, 15); a.status != 202 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a := send(small, 1)
	if a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("in debt: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	if a := send(secret, 100); a.status != 202 {
		t.Errorf("another's rate: %d %s", a.status, a.body)
	}
	b.advance(500 * time.Millisecond)
	if a := send(small, 1); a.status != 202 {
		t.Errorf("after the time that was told: %d %s", a.status, a.body)
	}
	// Bytes count as well, of what is refused too.
	b.advance(time.Minute)
	for range 6 {
		if a = b.post("/v1/events", ndjson, bytes.Repeat([]byte(" "), 1900), "Authorization", "Bearer "+small); a.status != 202 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a = send(small, 1); a.status != 429 {
		t.Errorf("%d after 11,400 bytes", a.status)
	}
}

// Tokens are replaced while it runs; what one has used up stays used up.
func TestTokensAreReplaced(t *testing.T) {
	b := start(t)
	send := func(token string) int {
		return b.post("/v1/events", ndjson, []byte(strings.Repeat(line("e", "a")+"\n", 15)), "Authorization", "Bearer "+token).status
	}
	if got := send(small); got != 202 {
		t.Fatal(got)
	}
	next, err := http.ParseTokens(strings.NewReader("small 0123456789abcdef-other events=10\n"), http.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b.server.SetTokens(next)
	if old, other := send(small), send("0123456789abcdef-other"); old != 401 || other != 429 {
		t.Errorf("the old token got %d, the new one in debt %d", old, other)
	}
	b.server.SetTokens(nil)
	if got := send(""); got != 401 {
		t.Errorf("without a token: %d", got)
	}
}

// Nothing is accepted that the brokers have not taken; when they are back the same request goes through.
func TestBrokersThatDoNotAcknowledge(t *testing.T) {
	b := start(t)
	var mu sync.Mutex
	refuse := kerr.TopicAuthorizationFailed
	b.broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.broker.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if refuse == nil {
			return nil, nil, false
		}
		in := req.(*kmsg.ProduceRequest)
		out := in.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range in.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, refuse.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	for _, c := range []struct{ path, kind string }{{"/v1/events", ndjson}, {"/v1/traces", "application/x-protobuf"}} {
		body := []byte(line("e", "a"))
		if c.path == "/v1/traces" {
			body = export(t, 1)
		}
		if a := b.post(c.path, c.kind, body); a.status != 503 || a.header.Get("Retry-After") != "5" {
			t.Errorf("%s: %d %q", c.path, a.status, a.body)
		}
	}
	set := func(err *kerr.Error) {
		mu.Lock()
		defer mu.Unlock()
		refuse = err
	}
	// What the topic does not take is not to be sent again as it is.
	set(kerr.MessageTooLarge)
	if a := b.post("/v1/events", ndjson, []byte(line("e", "a"))); a.status != 413 || a.header.Get("Retry-After") != "" {
		t.Errorf("too large: %d %q", a.status, a.body)
	}
	set(nil)
	if a := b.post("/v1/events", ndjson, []byte(line("e", "a"))); a.status != 202 || a.outcome(t).Accepted != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if r := b.records(1); string(r[0].Key) != "a" {
		t.Errorf("%s", r[0].Key)
	}
	if n, err := testutil.GatherAndCount(b.reg, "astray_http_produce_seconds"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

func export(t *testing.T, spans int) []byte {
	text := func(k, v string) *common.KeyValue {
		return &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}}
	}
	scope := &trace.ScopeSpans{}
	for i := range spans {
		scope.Spans = append(scope.Spans, &trace.Span{TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{byte(i + 1)}, 8),
			StartTimeUnixNano: 1_774_598_400_000_000_000, Attributes: []*common.KeyValue{text("gen_ai.operation.name", "chat"), text("gen_ai.agent.id", fmt.Sprint("a", i))}})
	}
	out, err := proto.Marshal(&trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{ScopeSpans: []*trace.ScopeSpans{scope}}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// OTLP/HTTP as its specification has it: 200 with an empty message, partial success, a Status for what cannot be read.
func TestTraces(t *testing.T) {
	b := start(t)
	const proto3, js = "application/x-protobuf", "application/json"
	a := b.post("/v1/traces", proto3, compressed(t, "gzip", export(t, 3)), "Content-Encoding", "gzip")
	if a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Type") != proto3 {
		t.Fatalf("%d %q %v", a.status, a.body, a.header)
	}
	for _, r := range b.records(3) {
		var e event.Event
		if err := new(decode.Decoder).Decode(r.Value, 1_800_000_000_000_000, &e); err != nil || e.AgentID != string(r.Key) || len(e.ID) != 49 {
			t.Errorf("%v: %s", err, r.Value)
		}
	}
	const span = `{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"%s","startTimeUnixNano":"1","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.agent.id","value":{"stringValue":"a"}}]}`
	two := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + fmt.Sprintf(span, "0000000000000000") + "," + fmt.Sprintf(span, "eee19b7ec3c1b174") + `]}]}]}`
	a = b.post("/v1/traces", js, []byte(two))
	var answer struct {
		PartialSuccess struct{ RejectedSpans, ErrorMessage string }
		Message        string
	}
	if err := json.Unmarshal(a.body, &answer); err != nil || a.status != 200 || answer.PartialSuccess.RejectedSpans != "1" || !strings.Contains(answer.PartialSuccess.ErrorMessage, "spanId") {
		t.Errorf("%d %s %v", a.status, a.body, err)
	}
	b.records(1)
	only := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + fmt.Sprintf(span, "0000000000000000") + `]}]}]}`
	if a = b.post("/v1/traces", js, []byte(only)); a.status != 200 || !strings.Contains(string(a.body), `"rejectedSpans":"1"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	broken := export(t, 1)
	a = b.post("/v1/traces", proto3, broken[:len(broken)-3])
	field, _, n := protowire.ConsumeTag(a.body)
	text, m := protowire.ConsumeString(a.body[max(n, 0):])
	if a.status != 400 || a.header.Get("Content-Type") != proto3 || field != 2 || m < 0 || text == "" {
		t.Errorf("%d %q", a.status, a.body)
	}
	for _, c := range []struct {
		kind, body string
		status     int
	}{
		{js, ` { }`, 200}, {js, line("e", "a"), 400}, {js, `{"resourceSpans":`, 400}, {js, `{"resourceSpans":[]}`, 200}, {proto3, ``, 200},
		{js, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"plain"}]}]}]}`, 200},
		{js, `{"specversion":"1.0","id":"i","source":"s","type":"t","data":{"resourceSpans":[]}}`, 400}, {"text/plain", `{}`, 415},
	} {
		if a := b.post("/v1/traces", c.kind, []byte(c.body)); a.status != c.status {
			t.Errorf("%s %s: %d %q, want %d", c.kind, c.body, a.status, a.body, c.status)
		}
	}
}

// Where it stops, a request under way ends as it should; and beyond loopback nobody sends without a token.
func TestStopsGracefully(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{})
	s, err := http.New(http.Config{Listen: "127.0.0.1:0", AllowUnauthenticated: true, MaxRequests: 1, Producer: produce(func() error {
		close(began)
		<-release
		return nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	client := &nethttp.Client{Transport: &nethttp.Transport{}}
	defer client.CloseIdleConnections()
	status := make(chan int, 1)
	go func() {
		res, err := client.Post("http://"+l.Addr().String()+"/v1/events", ndjson, strings.NewReader(line("e", "a")))
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-began
	// The one place is taken.
	res, err := client.Post("http://"+l.Addr().String()+"/v1/events", ndjson, strings.NewReader(line("e", "a")))
	if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%v %v", res, err)
	}
	res.Body.Close()
	stop()
	for { // until it takes no more
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if got := <-status; got != 202 {
		t.Errorf("the request under way got %d", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Who sends half a request is not waited for.
func TestSlowBody(t *testing.T) {
	s, err := http.New(http.Config{Listen: "127.0.0.1:0", AllowUnauthenticated: true, Timeout: 100 * time.Millisecond, Producer: produce(func() error { return nil })})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	res, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 408 {
		t.Errorf("%v %v", res, err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	spec := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, spec, spec, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := http.Config{Listen: "127.0.0.1:0", AllowUnauthenticated: true, CertFile: certFile, KeyFile: keyFile, Producer: produce(func() error { return nil })}
	s, err := http.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	client := &nethttp.Client{Transport: &nethttp.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.Post("https://"+l.Addr().String()+"/v1/events", ndjson, strings.NewReader(line("e", "a")))
	if err != nil || res.StatusCode != 202 {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
	client.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	cfg.KeyFile = certFile
	if _, err := http.New(cfg); err == nil {
		t.Error("a certificate is no key")
	}
}

type produce func() error

func (p produce) Produce(context.Context, ...kafka.Message) error { return p() }

func TestConfigIsChecked(t *testing.T) {
	p := produce(func() error { return errors.New("no") })
	for name, cfg := range map[string]http.Config{
		"no producer": {AllowUnauthenticated: true}, "no token": {Producer: p}, "open to all": {Producer: p, AllowUnauthenticated: true, Listen: "0.0.0.0:4318"},
		"any host": {Producer: p, AllowUnauthenticated: true, Listen: ":4318"}, "half a certificate": {Producer: p, AllowUnauthenticated: true, CertFile: "x"},
	} {
		if _, err := http.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, text := range map[string]string{
		"empty": "# nobody\n", "short": "a 0123456789", "no token": "a", "limit": "a 0123456789abcdef events=x", "unknown": "a 0123456789abcdef speed=1",
		"negative": "a 0123456789abcdef events=-1", "same name": "a 0123456789abcdef\na 0123456789abcdeg", "same token": "a 0123456789abcdef\nb 0123456789abcdef",
	} {
		_, err := http.ParseTokens(strings.NewReader(text), http.Limits{})
		if err == nil || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzEvents: no body crashes it, and what is accepted is what is written.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(line("e", "a")+"\n"+line("f", "b")), true)
	f.Add([]byte("["+line("e", "a")+",{}]"), false)
	f.Add([]byte(`[[],1,"x"]`), false)
	var written []kafka.Message
	s, err := http.New(http.Config{AllowUnauthenticated: true, Producer: record{&written}})
	if err != nil {
		f.Fatal(err)
	}
	h := s.Handler()
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		written = written[:0]
		r := httptest.NewRequest("POST", "/v1/events", bytes.NewReader(body))
		r.Header.Set("Content-Type", map[bool]string{true: ndjson, false: "application/json"}[lines])
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 202 && w.Code != 400 {
			t.Fatalf("%d", w.Code)
		}
		var o outcome
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
			t.Fatalf("%q: %v", w.Body, err)
		}
		if o.Accepted != len(written) {
			t.Fatalf("%d accepted, %d written", o.Accepted, len(written))
		}
	})
}

// FuzzTraces: every answer is one the specification knows, and what is written is readable.
func FuzzTraces(f *testing.F) {
	f.Add([]byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","startTimeUnixNano":"1","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]}]}]}]}`), false)
	f.Add([]byte("\x0a\x02\x12\x00"), true)
	f.Add([]byte(nil), true)
	var written []kafka.Message
	s, err := http.New(http.Config{AllowUnauthenticated: true, Producer: record{&written}})
	if err != nil {
		f.Fatal(err)
	}
	h := s.Handler()
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		written = written[:0]
		kind := map[bool]string{true: "application/x-protobuf", false: "application/json"}[binary]
		r := httptest.NewRequest("POST", "/v1/traces", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 || w.Header().Get("Content-Type") != kind || w.Code == 400 && len(written) > 0 {
			t.Fatalf("%d %v, %d written", w.Code, w.Header(), len(written))
		}
		var d decode.Decoder
		var e event.Event
		for _, m := range written {
			if err := d.Decode(m.Value, time.Now().UnixMicro()+3600_000_000, &e); err != nil || e.AgentID != string(m.Key) {
				t.Fatalf("%v: %s", err, m.Value)
			}
		}
	})
}

type record struct{ to *[]kafka.Message }

func (r record) Produce(_ context.Context, m ...kafka.Message) error {
	*r.to = append(*r.to, m...)
	return nil
}

// BenchmarkEvents is a request of a thousand typical events, without brokers.
func BenchmarkEvents(b *testing.B) {
	var written []kafka.Message
	s, err := http.New(http.Config{AllowUnauthenticated: true, Producer: record{&written}})
	if err != nil {
		b.Fatal(err)
	}
	h := s.Handler()
	var body strings.Builder
	for i := range 1000 {
		body.WriteString(line(fmt.Sprint("event-", i), "agent") + "\n")
	}
	b.ReportAllocs()
	for b.Loop() {
		written = written[:0]
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(body.String()))
		r.Header.Set("Content-Type", ndjson)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 202 || len(written) != 1000 {
			b.Fatal(w.Code, len(written))
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}
