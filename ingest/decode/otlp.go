package decode

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/astray-dev/astray/ingest/event"
)

// OTLP trace exports (opentelemetry-proto 1.x, ExportTraceServiceRequest), as protobuf and as JSON, of spans that carry
// the GenAI or MCP attributes of OpenTelemetry's semantic conventions. Both encodings are read into the same spans
// first and mapped by the same code. docs/formats/otlp.md is the mapping.

// otlpTexts maps attributes of a span to text fields.
func otlpTexts() []source {
	return []source{
		{"method", []string{"http.request.method"}},
		{"resource", []string{"mcp.resource.uri", "gen_ai.data_source.id", "url.path", "url.full"}},
		{"destination", []string{"server.address"}},
		{"source_ip", []string{"client.address"}},
		{"user_agent", []string{"user_agent.original"}},
		{"content", []string{"gen_ai.tool.call.arguments", "gen_ai.output.messages"}},
	}
}

// otlpAgent is where the agent's id comes from: the span, then the spans above it in the same export, then the
// resource.
func otlpAgent() []string { return []string{"gen_ai.agent.id", "gen_ai.agent.name"} }
func otlpAgentResource() []string {
	return []string{"gen_ai.agent.id", "gen_ai.agent.name", "service.name"}
}

func otlpSession() []string {
	return []string{"gen_ai.conversation.id", "mcp.session.id", "session.id"}
}
func otlpVersion() []string         { return []string{"gen_ai.agent.version"} }
func otlpVersionResource() []string { return []string{"gen_ai.agent.version", "service.version"} }
func otlpCohortResource() []string  { return []string{"service.namespace", "service.name"} }
func otlpBehalf() []string          { return []string{"user.id", "enduser.id"} }
func otlpStatus() []string {
	return []string{"http.response.status_code", "rpc.response.status_code", "error.type"}
}
func otlpRequestBytes() []string  { return []string{"http.request.body.size", "http.request.size"} }
func otlpResponseBytes() []string { return []string{"http.response.body.size", "http.response.size"} }

// otlpAction is what an operation is called in an event.
func otlpAction(operation string) string {
	switch operation {
	case "execute_tool":
		return "tool.call"
	case "invoke_agent":
		return "agent.invoke"
	case "create_agent":
		return "agent.create"
	case "invoke_workflow":
		return "workflow.invoke"
	case "retrieval":
		return "data.search"
	case "chat", "text_completion", "generate_content", "embeddings":
		return "model." + operation
	}
	return "gen_ai." + operation
}

// otlpComposite are the attributes of which a composite value is kept, as JSON: what an agent hands to a tool, gets back
// and says.
func otlpComposite(key string) bool {
	return key == "gen_ai.tool.call.arguments" || key == "gen_ai.tool.call.result" || key == "gen_ai.output.messages"
}

// attribute is one attribute. A composite value has kind '{' and no text, or kind 'j' and its JSON as text.
type attribute struct {
	key, text string
	kind      byte // as in node, or 'j'
	broken    bool
	used      bool
}

// span is one span of an export, in either encoding. Its attributes are spans.attrs[from:to].
type span struct {
	trace, id, parent string // lower-case hexadecimal
	name              string
	start, end        uint64 // nanoseconds since the epoch
	status            int64  // 2 is an error
	statusMessage     string
	from, to          int
	resource          int // index into spans.resources
}

// attrRange is a resource's attributes.
type attrRange struct{ from, to int }

// spans is one export, read.
type spans struct {
	list      []span
	attrs     []attribute
	resources []attrRange
	byID      map[[2]string]int // trace and span id, for spans with a parent
	each      func(error)       // told of every span's outcome, an error of which then rejects nothing else
}

func (s *spans) reset() {
	if cap(s.attrs) > maxKept {
		s.list, s.attrs, s.resources, s.byID = nil, nil, nil, nil
	}
	clear(s.list)
	clear(s.attrs)
	clear(s.byID)
	s.list, s.attrs, s.resources = s.list[:0], s.attrs[:0], s.resources[:0]
}

func (s *spans) add(a attribute, from int) error {
	// The lists of real spans are short. Long ones are checked by sorting out the first of a kind in a set.
	if len(s.attrs)-from < 64 {
		for i := range s.attrs[from:] {
			if s.attrs[from+i].key == a.key {
				return reject(event.CodeDuplicateKey, clip(a.key), "stands once among attributes")
			}
		}
	}
	s.attrs = append(s.attrs, a)
	return nil
}

// distinct is the second half of the check in add.
func (s *spans) distinct(from int) error {
	if len(s.attrs)-from <= 64 {
		return nil
	}
	seen := make(map[string]struct{}, len(s.attrs)-from)
	for i := range s.attrs[from:] {
		seen[s.attrs[from+i].key] = struct{}{}
		if len(seen) != i+1 {
			return reject(event.CodeDuplicateKey, clip(s.attrs[from+i].key), "stands once among attributes")
		}
	}
	return nil
}

func (s *spans) find(from, to int, key string) *attribute {
	for i := from; i < to; i++ {
		if s.attrs[i].key == key {
			return &s.attrs[i]
		}
	}
	return nil
}

// text is the first of keys that is there with a scalar that is not empty. A number is as good as its text.
func (s *spans) text(from, to int, keys []string) *attribute {
	for _, key := range keys {
		if a := s.find(from, to, key); a != nil && a.kind != '{' && a.text != "" {
			return a
		}
	}
	return nil
}

const otlpRecursion = 128 // messages within messages; the export itself is six deep

func (f *Formats) otlpProtobuf(value []byte) error {
	f.report.Format = OTLPProtobuf
	if len(value) == 0 {
		return errEmpty
	}
	var in trace.TracesData // on the wire the same as ExportTraceServiceRequest, whose package brings gRPC with it
	err := proto.UnmarshalOptions{RecursionLimit: otlpRecursion, DiscardUnknown: true}.Unmarshal(value, &in)
	if err != nil {
		return reject(event.CodeBadProtobuf, "", "a message is a valid OTLP trace export")
	}
	s := &f.spans
	s.reset()
	defer s.reset()
	attributes := func(list []*common.KeyValue) (from int, err error) {
		from = len(s.attrs)
		for _, kv := range list {
			if err := s.add(ofProto(kv), from); err != nil {
				return 0, err
			}
		}
		return from, s.distinct(from)
	}
	for _, rs := range in.ResourceSpans {
		from, err := attributes(rs.GetResource().GetAttributes())
		if err != nil {
			return err
		}
		s.resources = append(s.resources, attrRange{from, len(s.attrs)})
		for _, ss := range rs.ScopeSpans {
			for _, sp := range ss.Spans {
				from, err := attributes(sp.Attributes)
				if err != nil {
					return err
				}
				s.list = append(s.list, span{
					trace: hex.EncodeToString(sp.TraceId), id: hex.EncodeToString(sp.SpanId), parent: hex.EncodeToString(sp.ParentSpanId),
					name: sp.Name, start: sp.StartTimeUnixNano, end: sp.EndTimeUnixNano,
					status: int64(sp.GetStatus().GetCode()), statusMessage: sp.GetStatus().GetMessage(),
					from: from, to: len(s.attrs), resource: len(s.resources) - 1,
				})
			}
		}
	}
	return f.mapSpans()
}

func ofProto(kv *common.KeyValue) attribute {
	a := attribute{key: kv.GetKey()}
	switch v := kv.GetValue().GetValue().(type) {
	case *common.AnyValue_StringValue:
		a.kind, a.text = '"', v.StringValue
	case *common.AnyValue_BoolValue:
		a.kind, a.text = 't', strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		a.kind, a.text = '0', strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		a.kind, a.text = '0', double(v.DoubleValue)
	case *common.AnyValue_BytesValue:
		a.kind, a.text = '"', base64.StdEncoding.EncodeToString(v.BytesValue)
	default:
		a.kind = '{'
		if v != nil && otlpComposite(a.key) {
			a.kind, a.text = 'j', string(appendProto(nil, kv.GetValue()))
		}
	}
	return a
}

// appendProto appends a value as JSON. Protobuf's recursion limit bounds its depth.
func appendProto(dst []byte, value *common.AnyValue) []byte {
	switch v := value.GetValue().(type) {
	case *common.AnyValue_ArrayValue:
		dst = append(dst, '[')
		for i, x := range v.ArrayValue.GetValues() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendProto(dst, x)
		}
		return append(dst, ']')
	case *common.AnyValue_KvlistValue:
		dst = append(dst, '{')
		for i, kv := range v.KvlistValue.GetValues() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendProto(append(appendText(dst, kv.GetKey()), ':'), kv.GetValue())
		}
		return append(dst, '}')
	}
	return appendScalar(dst, ofProto(&common.KeyValue{Value: value}))
}

// appendScalar appends a scalar attribute's value as JSON, null for what is none.
func appendScalar(dst []byte, a attribute) []byte {
	switch {
	case a.kind == '{':
		return append(dst, "null"...)
	case a.kind == '"', a.text == "NaN", strings.HasSuffix(a.text, "Infinity"):
		return appendText(dst, a.text)
	}
	return append(dst, a.text...)
}

// appendTree is appendProto for a value in JSON. The tree's depth bounds it.
func (t *tree) appendTree(dst []byte, n int32) ([]byte, error) {
	v := t.at(n, "arrayValue.values")
	object := v == 0
	if object {
		v = t.at(n, "kvlistValue.values")
	}
	switch {
	case v == 0 && t.at(n, "arrayValue") != 0:
		return append(dst, "[]"...), nil
	case v == 0 && t.at(n, "kvlistValue") != 0:
		return append(dst, "{}"...), nil
	case v == 0:
		a, err := t.anyValue("", n)
		return appendScalar(dst, a), err
	case t.nodes[v].kind != '[':
		return dst, reject(event.CodeWrongType, "attributes.value", "has an array of values")
	}
	open := byte('[')
	if object {
		open = '{'
	}
	dst = append(dst, open)
	for c := t.nodes[v].first; c != 0; c = t.nodes[c].next {
		if c != t.nodes[v].first {
			dst = append(dst, ',')
		}
		x := c
		if object {
			key, err := t.textAt(c, "attributes.key", "key")
			if err != nil {
				return dst, err
			}
			dst = append(appendText(dst, key), ':')
			x = t.at(c, "value")
		}
		var err error
		if dst, err = t.appendTree(dst, x); err != nil {
			return dst, err
		}
	}
	return append(dst, open+2), nil
}

// double writes a double as both encodings show it.
func double(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	case math.IsNaN(v):
		return "NaN"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (f *Formats) otlpJSON(value []byte) error {
	t, s := &f.tree, &f.spans
	defer t.release()
	if err := t.parse(value, f.limit()); err != nil {
		return err
	}
	s.reset()
	defer s.reset()
	list, err := t.list(1, "resourceSpans")
	if err != nil {
		return err
	}
	for rs := list; rs != 0; rs = t.nodes[rs].next {
		from, err := f.attributesOf(t.at(rs, "resource"))
		if err != nil {
			return err
		}
		s.resources = append(s.resources, attrRange{from, len(s.attrs)})
		scopes, err := t.list(rs, "scopeSpans")
		if err != nil {
			return err
		}
		for ss := scopes; ss != 0; ss = t.nodes[ss].next {
			list, err := t.list(ss, "spans")
			if err != nil {
				return err
			}
			for n := list; n != 0; n = t.nodes[n].next {
				sp, err := f.spanOf(n)
				if err != nil {
					return err
				}
				sp.resource = len(s.resources) - 1
				s.list = append(s.list, sp)
			}
		}
	}
	return f.mapSpans()
}

// list is the first element of an array of objects, 0 when it is absent or empty.
func (t *tree) list(n int32, key string) (int32, error) {
	v := t.at(n, key)
	if v == 0 {
		return 0, nil
	}
	if t.nodes[v].kind != '[' {
		return 0, reject(event.CodeWrongType, key, "is an array of objects")
	}
	for c := t.nodes[v].first; c != 0; c = t.nodes[c].next {
		if t.nodes[c].kind != '{' {
			return 0, reject(event.CodeWrongType, key, "is an array of objects")
		}
	}
	return t.nodes[v].first, nil
}

// spanOf reads a span in JSON.
func (f *Formats) spanOf(n int32) (sp span, err error) {
	t := &f.tree
	for _, id := range [...]struct {
		key   string
		bytes int
		dst   *string
	}{{"traceId", 16, &sp.trace}, {"spanId", 8, &sp.id}, {"parentSpanId", 8, &sp.parent}} {
		s, err := t.textAt(n, id.key, id.key)
		if err != nil {
			return sp, err
		}
		raw, err := hex.DecodeString(s)
		if err != nil || len(raw) != id.bytes && len(raw) != 0 {
			return sp, reject(event.CodeBadValue, id.key, "is "+strconv.Itoa(id.bytes)+" bytes in hexadecimal")
		}
		*id.dst = strings.ToLower(s)
	}
	if sp.name, err = t.textAt(n, "name", "name"); err != nil {
		return sp, err
	}
	for _, at := range [...]struct {
		key string
		dst *uint64
	}{{"startTimeUnixNano", &sp.start}, {"endTimeUnixNano", &sp.end}} {
		v, _, err := t.integerAt(n, at.key, 0, math.MaxInt64, true, at.key)
		if err != nil {
			return sp, err
		}
		*at.dst = uint64(v)
	}
	if sp.status, _, err = t.integerAt(n, "status.code", math.MinInt32, math.MaxInt32, false, "status.code"); err != nil {
		return sp, err
	}
	if sp.statusMessage, err = t.textAt(n, "status.message", "status.message"); err != nil {
		return sp, err
	}
	sp.from, err = f.attributesOf(n)
	sp.to = len(f.spans.attrs)
	return sp, err
}

// attributesOf appends the attributes of the object n and says where they begin.
func (f *Formats) attributesOf(n int32) (from int, err error) {
	t, s := &f.tree, &f.spans
	from = len(s.attrs)
	list, err := t.list(n, "attributes")
	if err != nil {
		return from, err
	}
	for kv := list; kv != 0; kv = t.nodes[kv].next {
		key, err := t.textAt(kv, "attributes.key", "key")
		if err != nil {
			return from, err
		}
		a, err := t.anyValue(key, t.at(kv, "value"))
		if err != nil {
			return from, err
		}
		if err := s.add(a, from); err != nil {
			return from, err
		}
	}
	return from, s.distinct(from)
}

// anyValue reads an attribute's value in JSON.
func (t *tree) anyValue(key string, n int32) (attribute, error) {
	a := attribute{key: key, kind: '{'}
	if n == 0 {
		return a, nil
	}
	if t.nodes[n].kind != '{' {
		return a, reject(event.CodeWrongType, "attributes.value", "is an object")
	}
	parent := n
	if n = t.nodes[n].first; n == 0 {
		return a, nil
	}
	// One of the union stands there; more than one is no valid message.
	if t.nodes[n].next != 0 {
		return a, reject(event.CodeBadValue, "attributes.value", "has one member")
	}
	v := &t.nodes[n]
	wrong := func() (attribute, error) {
		return a, reject(event.CodeBadValue, "attributes.value", "is what its "+clip(v.key)+" says")
	}
	switch v.key {
	case "stringValue", "bytesValue":
		if v.kind != '"' {
			return wrong()
		}
		a.kind, a.text, a.broken = '"', v.text, v.broken
	case "boolValue":
		if v.kind != 't' {
			return wrong()
		}
		a.kind, a.text = 't', v.text
	case "intValue":
		i, err := strconv.ParseInt(v.text, 10, 64)
		if v.kind != '0' && v.kind != '"' || err != nil {
			return wrong()
		}
		a.kind, a.text = '0', strconv.FormatInt(i, 10)
	case "doubleValue":
		d, err := strconv.ParseFloat(v.text, 64)
		if v.kind != '0' && v.kind != '"' || err != nil {
			return wrong()
		}
		a.kind, a.text = '0', double(d)
	case "arrayValue", "kvlistValue":
		if otlpComposite(key) {
			raw, err := t.appendTree(nil, parent)
			if err != nil {
				return a, err
			}
			a.kind, a.text = 'j', string(raw)
		}
	}
	return a, nil
}

// mapSpans makes an event of every span that is an agent's activity.
func (f *Formats) mapSpans() error {
	s := &f.spans
	index := false
	for i := range s.list {
		index = index || s.list[i].parent != ""
	}
	if index {
		if s.byID == nil {
			s.byID = make(map[[2]string]int, len(s.list))
		}
		for i := range s.list {
			s.byID[[2]string{s.list[i].trace, s.list[i].id}] = i
		}
	}
	for i := range s.list {
		sp := &s.list[i]
		operation := s.text(sp.from, sp.to, []string{"gen_ai.operation.name"})
		method := s.text(sp.from, sp.to, []string{"mcp.method.name"})
		if operation == nil && method == nil {
			f.report.Passed++
			continue
		}
		f.report.Spans++
		err := f.mapSpan(sp, operation, method)
		if s.each != nil {
			s.each(err)
			continue
		}
		if err != nil {
			return err
		}
	}
	if f.report.Spans == 0 {
		return ErrNone
	}
	return nil
}

// inherited is the first of keys on the span or, failing that, on the nearest span above it in the export.
func (s *spans) inherited(sp *span, keys []string) *attribute {
	for range 64 { // who names himself as an ancestor is not followed for ever
		if a := s.text(sp.from, sp.to, keys); a != nil {
			return a
		}
		if sp.parent == "" {
			return nil
		}
		up, ok := s.byID[[2]string{sp.trace, sp.parent}]
		if !ok {
			return nil
		}
		sp = &s.list[up]
	}
	return nil
}

func (f *Formats) mapSpan(sp *span, operation, method *attribute) error {
	s := &f.spans
	res := s.resources[sp.resource]
	if strings.Trim(sp.trace, "0") == "" || len(sp.trace) != 32 {
		return reject(event.CodeMissingField, "id", "is required, from traceId, 16 bytes that are not all zero")
	}
	if strings.Trim(sp.id, "0") == "" || len(sp.id) != 16 {
		return reject(event.CodeMissingField, "id", "is required, from spanId, 8 bytes that are not all zero")
	}
	if f.report.Producer == "" {
		if a := s.find(res.from, res.to, "service.name"); a != nil {
			f.report.Producer = a.text
		}
	}
	e := f.take()
	e.Reset()
	e.Kind = event.APICall
	e.ID, e.TraceID = sp.trace+"-"+sp.id, sp.trace
	switch {
	case sp.start > 0:
		e.Time = int64(sp.start / 1000)
	case sp.end > 0:
		e.Time = int64(sp.end / 1000)
	default:
		return missing("time", []string{"startTimeUnixNano", "endTimeUnixNano"})
	}
	if sp.end > sp.start && sp.start > 0 {
		e.DurationMS = float64(sp.end-sp.start) / 1e6
	}
	agent := s.inherited(sp, otlpAgent())
	if agent == nil {
		agent = s.text(res.from, res.to, otlpAgentResource())
	}
	if agent == nil {
		return missing("agent_id", append(otlpAgent(), "the resource's service.name"))
	}
	if agent.broken {
		return reject(event.CodeInvalidUTF8, "agent_id", "is valid UTF-8, from "+agent.key)
	}
	e.AgentID = agent.text
	use := func(a *attribute) string {
		if a == nil {
			return ""
		}
		a.used = true
		return a.text
	}
	use(s.text(sp.from, sp.to, otlpAgent()))
	use(s.text(sp.from, sp.to, otlpVersion()))
	tool := s.text(sp.from, sp.to, []string{"gen_ai.tool.name"})
	switch {
	case operation != nil:
		e.Action = otlpAction(use(operation))
	case method.text == "tools/call":
		e.Action = "tool.call"
	default:
		e.Action = "mcp." + strings.ReplaceAll(method.text, "/", ".")
	}
	for _, a := range []*attribute{operation, method} {
		if a != nil && a.broken {
			return reject(event.CodeInvalidUTF8, "action", "is valid UTF-8, from "+a.key)
		}
	}
	for _, m := range otlpTexts() {
		*textField(e, m.field) = use(s.text(sp.from, sp.to, m.paths))
	}
	verb := e.Action
	if e.Action == "tool.call" && tool != nil {
		e.Service, verb = use(tool), tool.text
	} else {
		e.Service = use(s.text(sp.from, sp.to, []string{"gen_ai.provider.name", "gen_ai.system", "server.address"}))
		if e.Resource == "" {
			e.Resource = use(s.text(sp.from, sp.to, []string{"gen_ai.request.model"}))
		}
	}
	e.Access = event.DeriveAccess(e.Method, verb)
	if e.Access == event.Read {
		e.Destination = ""
	}
	use(s.text(sp.from, sp.to, otlpSession()))
	if a := s.inherited(sp, otlpSession()); a != nil {
		e.SessionID = a.text
	}
	version := s.inherited(sp, otlpVersion())
	if version == nil {
		version = s.text(res.from, res.to, otlpVersionResource())
	}
	if version != nil {
		e.AgentVersion = version.text
	}
	if a := s.text(res.from, res.to, otlpCohortResource()); a != nil {
		e.Cohort = a.text
	}
	if who := use(s.text(sp.from, sp.to, otlpBehalf())); who != "" {
		e.OnBehalfOf = append(e.OnBehalfOf, who)
	}
	for _, key := range otlpStatus() {
		if a := s.find(sp.from, sp.to, key); a != nil {
			if code, err := strconv.ParseInt(a.text, 10, 32); err == nil {
				e.Status, a.used = int32(code), true
				break
			}
		}
	}
	var err error
	if e.RequestBytes, err = s.size(sp, "request_bytes", otlpRequestBytes(), "gen_ai.tool.call.arguments"); err != nil {
		return err
	}
	if e.ResponseBytes, err = s.size(sp, "response_bytes", otlpResponseBytes(), "gen_ai.tool.call.result"); err != nil {
		return err
	}
	if err := f.spanLabels(sp, res, e); err != nil {
		return err
	}
	return f.end(e)
}

// size is the first of keys, an integer, or how long the text of body is, if it was captured.
func (s *spans) size(sp *span, field string, keys []string, body string) (int64, error) {
	if a := s.text(sp.from, sp.to, keys); a != nil {
		n, err := strconv.ParseInt(a.text, 10, 64)
		if err != nil || n < 0 {
			return 0, reject(event.CodeBadValue, field, "is an integer from 0 to 9223372036854775807, from "+a.key)
		}
		a.used = true
		return n, nil
	}
	if a := s.find(sp.from, sp.to, body); a != nil {
		return int64(len(a.text)), nil
	}
	return 0, nil
}

// spanLabels keeps what the mapping has left: the span's name and status, its attributes, then the resource's.
func (f *Formats) spanLabels(sp *span, res attrRange, e *event.Event) error {
	s := &f.spans
	var named keySet
	label := func(key, value string) error {
		if !named.add(key) {
			return nil
		}
		if err := f.charge(len(key) + len(value)); err != nil {
			return err
		}
		e.Labels = append(e.Labels, event.Label{Key: key, Value: value})
		return nil
	}
	status := ""
	if sp.status != 0 {
		status = strconv.FormatInt(sp.status, 10)
	}
	for _, l := range [...]event.Label{
		{Key: "otlp.span.name", Value: sp.name}, {Key: "otlp.parent_span_id", Value: sp.parent},
		{Key: "otlp.status.code", Value: status}, {Key: "otlp.status.message", Value: sp.statusMessage},
	} {
		if l.Value != "" {
			if err := label(l.Key, l.Value); err != nil {
				return err
			}
		}
	}
	for i := sp.from; i < sp.to; i++ {
		if a := &s.attrs[i]; !a.used && a.kind != '{' && a.kind != 'j' {
			if err := label(a.key, a.text); err != nil {
				return err
			}
		}
	}
	for i := res.from; i < res.to; i++ {
		if a := &s.attrs[i]; a.kind != '{' && a.kind != 'j' {
			if err := label(a.key, a.text); err != nil {
				return err
			}
		}
	}
	return nil
}
