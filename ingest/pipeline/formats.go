package pipeline

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
)

// Formats decodes messages of every format that package decode knows. One is shared by all partitions; it makes a
// decoder for each.
type Formats struct {
	redactor *event.Redactor
	skew     *Skew

	messages *prometheus.CounterVec
	passed   prometheus.Counter
	none     prometheus.Counter
}

// NewFormats registers with reg, unless that is nil:
//
//	astray_messages_total{format}          messages decoded, rejected ones included, by what they were taken for
//	astray_spans_passed_over_total         spans in trace exports that are no agent's activity
//	astray_messages_without_events_total   trace exports with no other spans than those
//
// and the metrics of Skew.
func NewFormats(redactor *event.Redactor, reg prometheus.Registerer) *Formats {
	f := &Formats{
		redactor: redactor, skew: NewSkew(reg),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "astray_messages_total", Help: "Messages decoded, by format."}, []string{"format"}),
		passed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_spans_passed_over_total", Help: "Spans that are no agent's activity."}),
		none:     prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_messages_without_events_total", Help: "Trace exports without a span of an agent's."}),
	}
	if reg != nil {
		reg.MustRegister(f.messages, f.passed, f.none)
	}
	return f
}

// Decode returns a decoder for one goroutine.
func (f *Formats) Decode() Decode {
	// A batch's records are its own: each is fetched or unpacked into memory that nobody writes to again.
	d := &decode.Formats{Redactor: f.redactor, Borrow: true}
	var second, measured int64
	counts := map[decode.Report]prometheus.Counter{} // by format and envelope; the rest of the key is empty
	var headers []decode.Header
	var first *event.Event
	var more func() *event.Event
	next := func() *event.Event {
		e := more()
		if first == nil {
			first = e
		}
		return e
	}
	return func(m *kafka.Message, now int64, yield func() *event.Event) error {
		headers = headers[:0]
		for _, h := range m.Headers {
			headers = append(headers, decode.Header{Key: h.Key, Value: h.Value})
		}
		first, more = nil, yield
		err := d.Decode(decode.Message{Value: m.Value, Headers: headers}, now, next)
		r := d.Last()
		kind := decode.Report{Format: r.Format, Envelope: r.Envelope}
		count := counts[kind]
		if count == nil {
			name := string(r.Format)
			if name == "" {
				name = "unknown"
			}
			if r.Envelope != "" {
				name = "cloudevents_" + r.Envelope + "/" + name
			}
			count = f.messages.WithLabelValues(name)
			counts[kind] = count
		}
		count.Inc()
		if r.Passed > 0 {
			f.passed.Add(float64(r.Passed))
		}
		if errors.Is(err, decode.ErrNone) {
			f.none.Inc()
		}
		if err == nil && first != nil && m.Time > 0 {
			if s := m.Time / 1_000_000; s != second {
				second, measured = s, 0
			}
			// Clocks do not run away within a second: a busy stream is sampled.
			if measured++; measured <= 500 || measured%32 == 0 {
				f.skew.Observe(producerOf(m, r, first), first.Time, m.Time)
			}
		}
		first, more = nil, nil
		return err
	}
}

// producerOf is who wrote a message: the header "producer", else what the message says, else the agent itself, which
// is who writes native events as a rule.
func producerOf(m *kafka.Message, r decode.Report, first *event.Event) string {
	for i := range m.Headers {
		if m.Headers[i].Key == ProducerHeader {
			return string(m.Headers[i].Value)
		}
	}
	if r.Producer != "" {
		return r.Producer
	}
	return first.AgentID
}

// ProducerHeader is the header of a record that names who wrote it.
const ProducerHeader = "producer"
