// Package decode turns messages into events, and events into messages of the native shape.
//
// The native shape, activity event version 1, is one JSON object. It is read by a scanner of its own (scan.go),
// in one pass, without reflection and with one copy of the message, because decoding is the largest share of
// the work per event; README.md has the figures that led here. What the scanner accepts is strict RFC 8259:
//
//   - a key that stands twice, at the top or in labels, rejects the message: two readers would see two events;
//   - invalid UTF-8 and unpaired surrogates reject the message in a required field and become U+FFFD elsewhere;
//   - control characters in strings, leading zeros, trailing text and nesting beyond 512 reject the message;
//   - an integer field takes an integer that fits 64 bits, never a rounded one;
//   - null stands for an absent value, except in a required field.
//
// Fields the contract does not know are kept as labels when scalar and ignored otherwise.
//
// Formats reads, beside the native shape, what others have agreed on (ocsf.go, otlp.go, cloudevents.go) and tells them
// apart by itself (formats.go). Every format ends in finish, the one place where an event is completed and redacted.
package decode

import (
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/astray-dev/astray/ingest/event"
)

// Rejection is the one kind of error that decoders return.
type Rejection = event.Rejection

func reject(code, field, rule string) error {
	return &event.Rejection{Code: code, Field: field, Rule: rule}
}

// Decoder decodes the native shape. The zero value is ready; it is reusable and belongs to one goroutine.
type Decoder struct {
	// Redactor takes the secrets out of each event. Nil redacts with the default key; there is no way not to.
	Redactor *event.Redactor

	in      scanner
	unknown []event.Label // unknown scalar fields of the message being read
	sniff   bool          // stop with errForeign at a key that only other formats have
	borrow  bool          // strings share the message's memory
	outer   *envelope     // what the message came in; nil for none
}

// The fields of the contract, as bits of the set of those seen.
const (
	fID = iota
	fTime
	fKind
	fAgentID
	fAction
	fAccess
	fMethod
	fService
	fResource
	fDestination
	fCredentialID
	fOwnerID
	fOnBehalfOf
	fSessionID
	fTraceID
	fAgentVersion
	fCohort
	fSourceIP
	fASN
	fUserAgent
	fStatus
	fRequestBytes
	fResponseBytes
	fDurationMS
	fCommunity
	fReplyTo
	fMentions
	fContent
	fLabels
	fUnknown
)

func fieldOf(key string) int {
	switch key {
	case "id":
		return fID
	case "time":
		return fTime
	case "kind":
		return fKind
	case "agent_id":
		return fAgentID
	case "action":
		return fAction
	case "access":
		return fAccess
	case "method":
		return fMethod
	case "service":
		return fService
	case "resource":
		return fResource
	case "destination":
		return fDestination
	case "credential_id":
		return fCredentialID
	case "owner_id":
		return fOwnerID
	case "on_behalf_of":
		return fOnBehalfOf
	case "session_id":
		return fSessionID
	case "trace_id":
		return fTraceID
	case "agent_version":
		return fAgentVersion
	case "cohort":
		return fCohort
	case "source_ip":
		return fSourceIP
	case "asn":
		return fASN
	case "user_agent":
		return fUserAgent
	case "status":
		return fStatus
	case "request_bytes":
		return fRequestBytes
	case "response_bytes":
		return fResponseBytes
	case "duration_ms":
		return fDurationMS
	case "community":
		return fCommunity
	case "reply_to":
		return fReplyTo
	case "mentions":
		return fMentions
	case "content":
		return fContent
	case "labels":
		return fLabels
	}
	return fUnknown
}

var required = [...]string{fID: "id", fTime: "time", fKind: "kind", fAgentID: "agent_id", fAction: "action"}

// Decode reads one message into e, which it resets first. now is the receiver's clock in microseconds since the
// epoch; an event more than a day ahead of it is refused. msg is not kept. Every error is a *Rejection, and e is
// then not to be used.
func (d *Decoder) Decode(msg []byte, now int64, e *event.Event) error {
	if err := d.read(msg, e); err != nil {
		return err
	}
	return finish(e, now, d.Redactor)
}

// finish is where every format ends: the event is checked and completed, then its secrets are taken out.
func finish(e *event.Event, now int64, r *event.Redactor) error {
	if err := event.Complete(e, now); err != nil {
		return err
	}
	r.Redact(e)
	return nil
}

// read takes the message into e, neither completed nor redacted.
func (d *Decoder) read(msg []byte, e *event.Event) error {
	e.Reset()
	if len(msg) > event.MaxMessage {
		return errLarge
	}
	c := &d.in
	*c = scanner{b: msg}
	switch c.space() {
	case '{':
	case 0:
		if c.i == len(msg) {
			return errEmpty
		}
		return errSyntax
	default:
		return errSyntax
	}
	if d.borrow {
		c.s = unsafe.String(&msg[0], len(msg)) // not empty: it begins with a brace
	} else {
		c.s = string(msg)
	}
	c.bad = !utf8.ValidString(c.s)
	clear(d.unknown)
	d.unknown = d.unknown[:0]
	seen, err := d.object(e)
	c.b, c.s = nil, "" // a reused decoder pins no message
	if err != nil {
		return err
	}
	if d.outer != nil {
		seen |= d.outer.lend(e, seen)
	}
	for f, name := range required {
		if seen&(1<<f) == 0 {
			return reject(event.CodeMissingField, name, "is required")
		}
	}
	return nil
}

// object reads the message's object and says which fields stood in it.
func (d *Decoder) object(e *event.Event) (seen uint64, err error) {
	c := &d.in
	var others keySet
	c.i++
	if c.space() == '}' {
		c.i++
	} else {
		for {
			if c.space() != '"' {
				return seen, errSyntax
			}
			key, _, ok := c.text()
			if !ok || c.space() != ':' {
				return seen, errSyntax
			}
			c.i++
			f := fieldOf(key)
			if f == fUnknown {
				if d.sniff && marks(key) != 0 {
					return seen, errForeign
				}
				if !others.add(key) {
					return seen, reject(event.CodeDuplicateKey, clip(key), "stands once")
				}
				if err := d.other(key); err != nil {
					return seen, err
				}
			} else {
				if seen&(1<<f) != 0 {
					return seen, reject(event.CodeDuplicateKey, key, "stands once")
				}
				seen |= 1 << f
				if err := d.field(f, key, e); err != nil {
					return seen, err
				}
			}
			ch := c.space()
			c.i++
			if ch == '}' {
				break
			}
			if ch != ',' {
				return seen, errSyntax
			}
		}
	}
	if c.space(); c.i < len(c.b) {
		return seen, errAfter
	}
	d.keep(e)
	return seen, nil
}

// field reads the value of a field that the contract knows.
func (d *Decoder) field(f int, key string, e *event.Event) error {
	c := &d.in
	ch := c.space()
	if ch == 'n' {
		if !c.word("null") {
			return errSyntax
		}
		if f < len(required) {
			return reject(event.CodeWrongType, key, "is required and not null")
		}
		return nil
	}
	switch f {
	case fID:
		return c.requiredText(ch, key, event.MaxID, &e.ID)
	case fAgentID:
		return c.requiredText(ch, key, event.MaxAgentID, &e.AgentID)
	case fAction:
		return c.requiredText(ch, key, event.MaxAction, &e.Action)
	case fTime:
		return c.time(ch, &e.Time)
	case fKind:
		var s string
		if err := c.requiredText(ch, key, event.MaxMessage, &s); err != nil {
			return err
		}
		switch s {
		case "post":
			e.Kind = event.Post
		case "api_call":
			e.Kind = event.APICall
		default:
			return reject(event.CodeBadValue, key, `is "post" or "api_call"`)
		}
		return nil
	case fAccess:
		var s string
		if err := c.optionalText(ch, key, &s); err != nil {
			return err
		}
		var ok bool
		if e.Access, ok = event.ParseAccess(s); !ok {
			return reject(event.CodeBadValue, key, "is read, write, delete, auth or admin")
		}
		return nil
	case fMethod:
		return c.optionalText(ch, key, &e.Method)
	case fService:
		return c.optionalText(ch, key, &e.Service)
	case fResource:
		return c.optionalText(ch, key, &e.Resource)
	case fDestination:
		return c.optionalText(ch, key, &e.Destination)
	case fCredentialID:
		return c.optionalText(ch, key, &e.CredentialID)
	case fOwnerID:
		return c.optionalText(ch, key, &e.OwnerID)
	case fSessionID:
		return c.optionalText(ch, key, &e.SessionID)
	case fTraceID:
		return c.optionalText(ch, key, &e.TraceID)
	case fAgentVersion:
		return c.optionalText(ch, key, &e.AgentVersion)
	case fCohort:
		return c.optionalText(ch, key, &e.Cohort)
	case fSourceIP:
		return c.optionalText(ch, key, &e.SourceIP)
	case fUserAgent:
		return c.optionalText(ch, key, &e.UserAgent)
	case fCommunity:
		return c.optionalText(ch, key, &e.Community)
	case fReplyTo:
		return c.optionalText(ch, key, &e.ReplyTo)
	case fContent:
		return c.optionalText(ch, key, &e.Content)
	case fOnBehalfOf:
		return c.texts(ch, key, &e.OnBehalfOf)
	case fMentions:
		return c.texts(ch, key, &e.Mentions)
	case fASN:
		n, err := c.integer(ch, key, 0, math.MaxUint32)
		e.ASN = uint32(n)
		return err
	case fStatus:
		n, err := c.integer(ch, key, math.MinInt32, math.MaxInt32)
		e.Status = int32(n)
		return err
	case fRequestBytes:
		n, err := c.integer(ch, key, 0, math.MaxInt64)
		e.RequestBytes = n
		return err
	case fResponseBytes:
		n, err := c.integer(ch, key, 0, math.MaxInt64)
		e.ResponseBytes = n
		return err
	case fDurationMS:
		return c.duration(ch, key, &e.DurationMS)
	}
	return d.labels(ch, e)
}

// labels reads the object of scalars.
func (d *Decoder) labels(ch byte, e *event.Event) error {
	c := &d.in
	if ch != '{' {
		return wrongType(ch, "labels", "is an object of scalars")
	}
	var keys keySet
	c.i++
	if c.space() == '}' {
		c.i++
		return nil
	}
	for {
		if c.space() != '"' {
			return errSyntax
		}
		key, _, ok := c.text()
		if !ok || c.space() != ':' {
			return errSyntax
		}
		c.i++
		if !keys.add(key) {
			return reject(event.CodeDuplicateKey, "labels", "has each key once")
		}
		switch ch := c.space(); ch {
		case '{', '[':
			return reject(event.CodeWrongType, "labels", "is an object of scalars")
		case 'n':
			if !c.word("null") {
				return errSyntax
			}
		default:
			s, ok := c.scalar(ch)
			if !ok {
				return errSyntax
			}
			e.Labels = append(e.Labels, event.Label{Key: key, Value: s})
		}
		ch := c.space()
		c.i++
		if ch == '}' {
			return nil
		}
		if ch != ',' {
			return errSyntax
		}
	}
}

// other reads the value of an unknown field: a scalar is kept, anything else ignored.
func (d *Decoder) other(key string) error {
	c := &d.in
	switch ch := c.space(); ch {
	case '{', '[':
		return c.skip()
	case 'n':
		if !c.word("null") {
			return errSyntax
		}
	default:
		s, ok := c.scalar(ch)
		if !ok {
			return errSyntax
		}
		d.unknown = append(d.unknown, event.Label{Key: key, Value: s})
	}
	return nil
}

// keep moves the unknown fields behind the labels. Where both have a key the entry of labels stays, which is what
// the producer called a label.
func (d *Decoder) keep(e *event.Event) {
	if len(d.unknown) == 0 {
		return
	}
	if len(e.Labels) == 0 {
		e.Labels = append(e.Labels, d.unknown...)
	} else {
		var named keySet
		for _, l := range e.Labels {
			named.add(l.Key)
		}
		for _, l := range d.unknown {
			if named.add(l.Key) {
				e.Labels = append(e.Labels, l)
			}
		}
	}
	clear(d.unknown)
	d.unknown = d.unknown[:0]
}

// keySet is a set of keys: a short list at first, because nearly every message has few, then a map, so that a
// message of a hundred thousand keys costs no square of them.
type keySet struct {
	few  [12]string
	n    int
	many map[string]struct{}
}

// add puts key into the set; it is false if the key was there.
func (k *keySet) add(key string) bool {
	if k.many == nil {
		for i := range k.n {
			if k.few[i] == key {
				return false
			}
		}
		if k.n < len(k.few) {
			k.few[k.n] = key
			k.n++
			return true
		}
		k.many = make(map[string]struct{}, 4*len(k.few))
		for _, f := range k.few {
			k.many[f] = struct{}{}
		}
	}
	n := len(k.many)
	k.many[key] = struct{}{}
	return len(k.many) > n
}

func (c *scanner) requiredText(ch byte, key string, limit int, dst *string) error {
	if ch != '"' {
		return wrongType(ch, key, "is a string")
	}
	s, whole, ok := c.text()
	switch {
	case !ok:
		return errSyntax
	case !whole:
		return reject(event.CodeInvalidUTF8, key, "is valid UTF-8")
	case s == "":
		return reject(event.CodeEmpty, key, "is not empty")
	case len(s) > limit:
		return reject(event.CodeTooLong, key, "is at most "+strconv.Itoa(limit)+" bytes")
	}
	*dst = s
	return nil
}

func (c *scanner) optionalText(ch byte, key string, dst *string) error {
	if ch != '"' {
		return wrongType(ch, key, "is a string")
	}
	s, _, ok := c.text()
	if !ok {
		return errSyntax
	}
	*dst = s
	return nil
}

func (c *scanner) texts(ch byte, key string, dst *[]string) error {
	if ch != '[' {
		return wrongType(ch, key, "is an array of strings")
	}
	c.i++
	if c.space() == ']' {
		c.i++
		return nil
	}
	for {
		ch := c.space()
		if ch != '"' {
			return wrongType(ch, key, "is an array of strings")
		}
		s, _, ok := c.text()
		if !ok {
			return errSyntax
		}
		*dst = append(*dst, s)
		ch = c.space()
		c.i++
		if ch == ']' {
			return nil
		}
		if ch != ',' {
			return errSyntax
		}
	}
}

func (c *scanner) integer(ch byte, key string, low, high int64) (int64, error) {
	if ch != '-' && (ch < '0' || ch > '9') {
		return 0, wrongType(ch, key, "is an integer")
	}
	s, integral, ok := c.number()
	if !ok {
		return 0, errSyntax
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if !integral || err != nil || n < low || n > high {
		return 0, reject(event.CodeBadValue, key, "is an integer from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
	}
	return n, nil
}

func (c *scanner) duration(ch byte, key string, dst *float64) error {
	if ch != '-' && (ch < '0' || ch > '9') {
		return wrongType(ch, key, "is a number")
	}
	s, _, ok := c.number()
	if !ok {
		return errSyntax
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 {
		return reject(event.CodeBadValue, key, "is a finite number of at least 0")
	}
	*dst = f + 0 // no negative zero
	return nil
}

// wrongType is the error for a value that starts with ch, which is bad JSON when no value starts so.
func wrongType(ch byte, key, rule string) error {
	switch ch {
	case '"', '{', '[', 't', 'f', 'n', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return reject(event.CodeWrongType, key, rule)
	}
	return errSyntax
}

func clip(s string) string {
	if len(s) > 200 {
		s = s[:200]
	}
	return strconv.QuoteToASCII(s)
}
