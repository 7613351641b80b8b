package decode

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/astray-dev/astray/ingest/event"
)

// Format is a shape that messages have.
type Format string

// The formats. OCSF, OTLP and CloudEvents each have a file here, and a page in docs/formats.
const (
	Unknown      Format = ""
	Native       Format = "native"        // activity event version 1
	OCSF         Format = "ocsf"          // OCSF 1.9 API Activity
	OTLPJSON     Format = "otlp_json"     // OTLP/JSON trace export
	OTLPProtobuf Format = "otlp_protobuf" // OTLP/protobuf trace export
)

// Header is a header of a message.
type Header struct {
	Key   string
	Value []byte
}

// Message is what is decoded: a record of a topic, or a part of a request.
type Message struct {
	Value   []byte
	Headers []Header
}

// Report says what a message was taken for.
type Report struct {
	Format   Format
	Envelope string // "structured" or "binary" when it came as a CloudEvent
	// Passed counts the spans of a trace export that are no agent's activity: neither GenAI nor MCP.
	Passed int
	// Spans counts the spans of a trace export that are, those refused included.
	Spans int
	// Producer is who wrote the message, as far as it says: the source of a CloudEvent, the service.name of the
	// first agent span, the metadata.product.name of an OCSF event. It is text from outside.
	Producer string
}

// ErrNone says that a message is valid and carries no activity of an agent, as most trace exports do.
var ErrNone = errors.New("decode: no activity in the message")

// Formats decodes messages of every format, told apart by the message itself:
//
//   - a header content-type of application/cloudevents…, or all four required ce_ headers: a CloudEvent;
//   - a header content-type of application/x-protobuf, or bytes that begin as a trace export does and cannot be
//     JSON: OTLP/protobuf;
//   - a JSON object with agent_id: native, whatever else is in it;
//   - otherwise a JSON object with specversion: a structured CloudEvent; with resourceSpans: OTLP/JSON; with
//     class_uid: OCSF; with none of them: native.
//
// The native shape is tried first and costs what it costs alone. The zero value is ready; it is reusable and belongs
// to one goroutine.
type Formats struct {
	// Redactor takes the secrets out of each event. Nil redacts with the default key.
	Redactor *event.Redactor
	// Limit is the size of the largest message in bytes, event.MaxMessage if it is less. Only a trace export may be
	// larger than that: every event is still held to event.MaxMessage.
	Limit int
	// Borrow lets the strings of events of the native shape share the message's memory instead of a copy. Nobody may write to a
	// message then as long as an event of it is in use.
	Borrow bool

	native Decoder
	tree   tree
	spans  spans
	report Report
	plain  bool // the last message was native and nothing else; report is then not set
	raw    bool // leave secrets in: what is encoded again is redacted when it is read

	// The state of one Decode.
	now   int64
	first *event.Event // handed out but not filled yet
	next  func() *event.Event
	outer *envelope
	room  int
	tried error // why the message is not native, when that was tried already
}

// maxBecome bounds what one message becomes, in bytes of text: attributes that many spans share are kept with each.
const maxBecome = 8 * event.MaxMessage

var (
	errForeign = errors.New("decode: another format") // never leaves the package
	errRoom    = &event.Rejection{Code: event.CodeTooLarge, Rule: "the events of a message hold at most 8 MiB of text"}
)

// Last reports on the message that was decoded last, accepted or not.
func (f *Formats) Last() Report {
	if f.plain {
		return Report{Format: Native}
	}
	return f.report
}

// Decode reads a message: it calls next for each event and fills what it returns. now is the receiver's clock in
// microseconds since the epoch. The message is not kept. It returns ErrNone when there is no event in the message and
// nothing wrong with it, and a *Rejection when something is; what next returned is then not to be used.
func (f *Formats) Decode(m Message, now int64, next func() *event.Event) error {
	var first *event.Event
	f.plain = false
	// The short way, which nearly every message goes: nothing is set up that it does not need.
	if len(m.Headers) == 0 && len(m.Value) > 0 && m.Value[0] == '{' {
		first = next()
		f.native.sniff, f.native.borrow = true, f.Borrow
		if f.tried = f.native.read(m.Value, first); f.tried == nil {
			f.plain, f.native.borrow = true, false
			if f.raw {
				return event.Complete(first, now)
			}
			return finish(first, now, f.Redactor)
		}
		f.native.borrow = false
	}
	f.report, f.now, f.next, f.first, f.outer, f.room = Report{}, now, next, first, nil, max(maxBecome, 2*f.Limit)
	err := f.decode(m)
	f.tried = nil
	f.next, f.first, f.outer, f.native.outer = nil, nil, nil, nil
	return err
}

func (f *Formats) decode(m Message) error {
	contentType := ""
	if len(m.Headers) > 0 {
		kind, err := f.headers(m.Headers)
		if err != nil {
			return err
		}
		contentType = kind
	}
	if len(m.Value) > f.limit() {
		return errLarge
	}
	return f.payload(m.Value, contentType)
}

// payload decodes a value whose media type is known, or not, when it is "".
func (f *Formats) payload(value []byte, contentType string) error {
	switch {
	case isCloudEvents(contentType):
		if media(contentType) != "application/cloudevents+json" {
			return reject(event.CodeUnsupported, "content-type", "of a structured CloudEvent is application/cloudevents+json")
		}
		return f.structured(value)
	case isProtobuf(contentType), len(value) > 0 && value[0] == '\n' && noText(value):
		return f.otlpProtobuf(value)
	}
	return f.json(value)
}

// noText reports whether value has a byte that no JSON text has. Every trace export with a span in it has one:
// the tag of ScopeSpans is 0x12.
func noText(value []byte) bool {
	for _, b := range value {
		if b < 0x20 && b != '\n' && b != '\r' && b != '\t' {
			return true
		}
	}
	return false
}

func (f *Formats) limit() int { return max(f.Limit, event.MaxMessage) }

// take returns an event to fill.
func (f *Formats) take() *event.Event {
	e := f.first
	if f.first = nil; e == nil {
		e = f.next()
	}
	return e
}

// end completes e with what it came in, and finishes it.
func (f *Formats) end(e *event.Event) error {
	if f.outer != nil {
		for _, l := range f.outer.labels {
			if err := f.charge(len(l.Key) + len(l.Value)); err != nil {
				return err
			}
		}
		f.outer.label(e)
	}
	if f.raw {
		return event.Complete(e, f.now)
	}
	return finish(e, f.now, f.Redactor)
}

// charge takes n bytes from what the message may become.
func (f *Formats) charge(n int) error {
	if f.room -= n; f.room < 0 {
		return errRoom
	}
	return nil
}

// json decodes a JSON object of any format.
func (f *Formats) json(value []byte) error {
	f.native.sniff, f.native.outer = true, f.outer
	f.report.Format = Native
	e := f.take()
	err := f.tried
	if err == nil {
		err = f.native.read(value, e)
	}
	if f.tried = nil; err == nil {
		return f.end(e)
	}
	if err == errEmpty { // the very value, without a look inside
		return err
	}
	f.first = e
	switch found := marksIn(value); {
	case found == 0 || found&markAgent != 0:
		if err == errForeign {
			f.native.sniff = false
			if err = f.native.read(value, e); err == nil {
				return f.end(e)
			}
		}
		return err
	case found&markCloudEvent != 0:
		return f.structured(value)
	case found&markSpans != 0:
		f.report.Format = OTLPJSON
		return f.otlpJSON(value)
	default:
		f.report.Format = OCSF
		return f.ocsf(value)
	}
}

// Keys by which an object shows its format.
const (
	markAgent = 1 << iota
	markCloudEvent
	markSpans
	markClass
)

func marks(key string) int {
	switch key {
	case "specversion":
		return markCloudEvent
	case "resourceSpans":
		return markSpans
	case "class_uid":
		return markClass
	}
	return 0
}

// marksIn returns the marks among the keys of the object in value, as far as it is valid.
func marksIn(value []byte) (found int) {
	c := scanner{b: value, s: string(value)}
	_ = c.members(func(key string) error { // what is wrong with it is said by whoever decodes it
		if key == "agent_id" {
			found |= markAgent
		}
		found |= marks(key)
		return c.skip()
	})
	return found
}

// members calls visit for each member of the object that is the whole text. visit reads the value, at c.i.
func (c *scanner) members(visit func(key string) error) error {
	if c.space() != '{' {
		if len(c.b) == 0 {
			return errEmpty
		}
		return errSyntax
	}
	c.i++
	if c.space() == '}' {
		c.i++
	} else {
		for {
			if c.space() != '"' {
				return errSyntax
			}
			key, _, ok := c.text()
			if !ok || c.space() != ':' {
				return errSyntax
			}
			c.i++
			c.space()
			if err := visit(key); err != nil {
				return err
			}
			ch := c.space()
			c.i++
			if ch == '}' {
				break
			}
			if ch != ',' {
				return errSyntax
			}
		}
	}
	if c.space(); c.i < len(c.b) {
		return errAfter
	}
	return nil
}

// media is a media type without its parameters, in lower case.
func media(contentType string) string {
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(contentType))
}

func isJSON(contentType string) bool {
	m := media(contentType)
	return strings.HasSuffix(m, "/json") || strings.HasSuffix(m, "+json")
}

func isProtobuf(contentType string) bool {
	m := media(contentType)
	return m == "application/x-protobuf" || m == "application/protobuf"
}

// isCloudEvents follows the Kafka protocol binding: a prefix, whatever its case.
func isCloudEvents(contentType string) bool {
	const prefix = "application/cloudevents"
	return len(contentType) >= len(prefix) && strings.EqualFold(contentType[:len(prefix)], prefix)
}

// Line is a message's event in the native shape, to be written to the topic.
type Line struct {
	AgentID string // the key
	Time    int64  // of the event, microseconds
	Value   []byte // valid during the call
}

// Lines decodes a message and yields each event in the native shape, newline included, with its secrets still in:
// whoever reads the line again takes them out, and needs to see them to tell. A span that is refused does not keep
// the others of its export back: it is yielded as an error, a *Rejection. Lines itself returns an error when the
// message as a whole is at fault.
func (f *Formats) Lines(m Message, now int64, yield func(Line, error)) error {
	var e event.Event
	var line []byte
	one := func(err error) {
		if err != nil {
			yield(Line{}, err)
			return
		}
		line = AppendEvent(line[:0], &e)
		switch {
		case len(line) > event.MaxMessage:
			yield(Line{}, errLarge)
		default:
			yield(Line{e.AgentID, e.Time, line}, nil)
		}
	}
	f.raw, f.spans.each = true, one
	pending := false
	err := f.Decode(m, now, func() *event.Event {
		pending = true
		return &e
	})
	f.raw, f.spans.each = false, nil
	if format := f.Last().Format; err == nil && pending && format != OTLPJSON && format != OTLPProtobuf {
		one(nil)
	}
	return err
}

func valid(s string) (string, bool) {
	if utf8.ValidString(s) {
		return s, true
	}
	return string([]rune(s)), false
}
