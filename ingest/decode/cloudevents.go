package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/astray-dev/astray/ingest/event"
)

// CloudEvents 1.0 is an envelope: structured, as a JSON object around the data (cloudevents/formats/json-format.md of
// the specification), or binary, as headers beside it (cloudevents/bindings/kafka-protocol-binding.md). The data is an
// event of any other format. docs/formats/cloudevents.md is the mapping.
type envelope struct {
	version, id, source, kind string
	time                      int64
	timed                     bool
	contentType               string
	traceID                   string
	labels                    []event.Label
}

// attribute takes one context attribute. seen tells attributes that stand twice.
func (o *envelope) attribute(name, value string, whole bool) error {
	required := func(dst *string) error {
		switch {
		case !whole:
			return reject(event.CodeInvalidUTF8, name, "is valid UTF-8")
		case value == "":
			return reject(event.CodeEmpty, name, "is not empty")
		}
		*dst = value
		return nil
	}
	switch name {
	case "specversion":
		if value != "1.0" {
			return reject(event.CodeUnsupported, name, `is "1.0"`)
		}
		o.version = value
		return nil
	case "id":
		return required(&o.id)
	case "source":
		o.labels = append(o.labels, event.Label{Key: "ce_source", Value: value})
		return required(&o.source)
	case "type":
		o.labels = append(o.labels, event.Label{Key: "ce_type", Value: value})
		return required(&o.kind)
	case "time":
		if o.time, o.timed = parseTime(value); !o.timed {
			return reject(event.CodeBadTime, name, "is RFC 3339")
		}
		return nil
	case "datacontenttype":
		o.contentType = value
		return nil
	case "traceparent":
		o.traceID = traceOf(value)
	}
	o.labels = append(o.labels, event.Label{Key: "ce_" + name, Value: value})
	return nil
}

// complete checks that the attributes are there that must be.
func (o *envelope) complete() error {
	for _, a := range [...]struct{ name, value string }{
		{"specversion", o.version}, {"id", o.id}, {"source", o.source}, {"type", o.kind},
	} {
		if a.value == "" {
			return reject(event.CodeMissingField, a.name, "is required of a CloudEvent")
		}
	}
	return nil
}

// lend gives the native event inside what it lacks and the envelope has: id, time and trace.
func (o *envelope) lend(e *event.Event, seen uint64) (lent uint64) {
	if seen&(1<<fID) == 0 {
		// Producers promise that source and id together are unique.
		if e.ID = o.source + "/" + o.id; len(e.ID) > event.MaxID {
			h := sha256.Sum256([]byte(o.source + "\x00" + o.id))
			e.ID = "ce-" + hex.EncodeToString(h[:])
		}
		lent |= 1 << fID
	}
	if seen&(1<<fTime) == 0 && o.timed {
		e.Time = o.time
		lent |= 1 << fTime
	}
	if e.TraceID == "" {
		e.TraceID = o.traceID
	}
	return lent
}

// label keeps the envelope's attributes as labels, where the event has none of that name.
func (o *envelope) label(e *event.Event) {
	var named keySet
	for _, l := range e.Labels {
		named.add(l.Key)
	}
	for _, l := range o.labels {
		if named.add(l.Key) {
			e.Labels = append(e.Labels, l)
		}
	}
}

// traceOf is the trace id of a W3C traceparent, "" when it is none.
func traceOf(traceparent string) string {
	part := strings.Split(traceparent, "-")
	if len(part) < 4 || len(part[0]) != 2 || len(part[1]) != 32 || strings.Trim(part[1], "0123456789abcdef") != "" {
		return ""
	}
	return part[1]
}

// headers looks through a record's headers: it sets the envelope of a binary CloudEvent, and returns the media
// type of the value, "" when none is named.
func (f *Formats) headers(headers []Header) (contentType string, err error) {
	count, found := 0, 0
	typed := false
	for _, h := range headers {
		switch {
		case strings.EqualFold(h.Key, "content-type"):
			if typed {
				return "", reject(event.CodeDuplicateKey, "content-type", "stands once in the headers")
			}
			typed = true
			contentType = string(h.Value)
		case strings.HasPrefix(h.Key, "ce_"):
			count++
			switch h.Key {
			case "ce_specversion", "ce_id", "ce_source", "ce_type":
				found++
			}
		}
	}
	// Only with all that is mandatory it is probably a CloudEvent (Kafka binding, section 3); and headers may be
	// repeated beside a structured one.
	if found < 4 || isCloudEvents(contentType) {
		return contentType, nil
	}
	f.report.Envelope = "binary"
	o := &envelope{labels: make([]event.Label, 0, count)}
	var keys keySet
	for _, h := range headers {
		name, ok := strings.CutPrefix(h.Key, "ce_")
		if !ok {
			continue
		}
		if !keys.add(name) {
			return "", reject(event.CodeDuplicateKey, clip(h.Key), "stands once in the headers")
		}
		if len(h.Value) > event.MaxMessage {
			return "", errLarge
		}
		value, whole := valid(string(h.Value))
		if err := o.attribute(name, value, whole); err != nil {
			return "", err
		}
	}
	if err := o.complete(); err != nil {
		return "", err
	}
	f.report.Producer = o.source
	f.outer = o
	if contentType != "" && !isJSON(contentType) && !isProtobuf(contentType) {
		return "", reject(event.CodeUnsupported, "content-type", "of the data is JSON or application/x-protobuf")
	}
	return contentType, nil
}

// structured decodes a CloudEvent that is one JSON object.
func (f *Formats) structured(value []byte) error {
	if f.outer != nil {
		return reject(event.CodeUnsupported, "data", "is no CloudEvent itself")
	}
	f.report.Envelope, f.report.Format = "structured", Unknown
	if len(value) > event.MaxMessage {
		return errLarge
	}
	c := &scanner{b: value, s: string(value)}
	c.bad = !utf8.ValidString(c.s)
	o := &envelope{}
	var keys keySet
	var data []byte
	var encoded string
	var has, based bool
	err := c.members(func(key string) error {
		if !keys.add(key) {
			return reject(event.CodeDuplicateKey, clip(key), "stands once")
		}
		ch := byte(0)
		if c.i < len(c.b) {
			ch = c.b[c.i]
		}
		if key == "data" {
			from := c.i
			if err := c.skip(); err != nil {
				return err
			}
			has, data = true, c.b[from:c.i]
			return nil
		}
		if ch == 'n' {
			if !c.word("null") {
				return errSyntax
			}
			return nil // as good as absent
		}
		if ch == '{' || ch == '[' {
			if key == "data_base64" {
				return reject(event.CodeWrongType, key, "is a string")
			}
			return reject(event.CodeWrongType, clip(key), "is a scalar, as every attribute of a CloudEvent")
		}
		text, whole, ok := "", true, false
		if ch == '"' {
			text, whole, ok = c.text()
		} else {
			text, ok = c.scalar(ch)
		}
		if !ok {
			return errSyntax
		}
		switch key {
		case "data_base64", "specversion", "id", "source", "type", "time", "datacontenttype", "subject", "dataschema":
			if ch != '"' {
				return reject(event.CodeWrongType, key, "is a string")
			}
		}
		if key == "data_base64" {
			based, encoded = true, text
			return nil
		}
		return o.attribute(key, text, whole)
	})
	if err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	f.report.Producer = o.source
	f.outer = o
	switch {
	case has && based:
		return reject(event.CodeBadValue, "data", "and data_base64 exclude each other")
	case based:
		if data, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return reject(event.CodeBadValue, "data_base64", "is base64")
		}
		if !isJSON(o.contentType) && !isProtobuf(o.contentType) {
			return reject(event.CodeUnsupported, "datacontenttype", "is named, and is JSON or application/x-protobuf, beside data_base64")
		}
		return f.payload(data, o.contentType)
	case !has:
		return reject(event.CodeMissingField, "data", "is required: it is the event")
	case o.contentType != "" && !isJSON(o.contentType):
		return reject(event.CodeUnsupported, "datacontenttype", "is JSON beside data")
	case !bytes.HasPrefix(data, []byte("{")):
		return reject(event.CodeWrongType, "data", "is an object")
	}
	return f.json(data)
}
