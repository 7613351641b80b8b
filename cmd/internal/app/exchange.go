package app

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/event/link"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Where what crosses the agents of several partitions is judged.
const (
	LinksAuto  = "auto"  // on a topic if the events have more than one partition, else nowhere
	LinksOff   = "off"   // nowhere: each partition sees what its own agents share
	LinksTopic = "topic" // over the topic of links: any number of instances
	LinksLocal = "local" // within the process, which must be the only instance
)

// linksTopic hands frames to the topic of links.
type linksTopic struct {
	to         *kafka.Producer
	group      string
	partitions int
}

// newLinksTopic makes the topic if it is not there.
func newLinksTopic(ctx context.Context, bus kafka.Config, topic string, partitions, replicas int) (*linksTopic, error) {
	err := kafka.CreateTopics(ctx, bus, kafka.TopicSpec{Name: topic, Partitions: partitions, Replicas: replicas})
	if err != nil {
		return nil, err
	}
	n, err := kafka.Partitions(ctx, bus, topic)
	if err != nil {
		return nil, err
	}
	to, err := kafka.NewDirectProducer(bus, topic)
	if err != nil {
		return nil, err
	}
	return &linksTopic{to: to, group: bus.Group, partitions: n}, nil
}

func (t *linksTopic) Close() error { return t.to.Close() }

// Partitions is that of the topic when this process began.
func (t *linksTopic) Partitions() int { return t.partitions }

// Send writes the frames, each to the partition of its place in the list.
func (t *linksTopic) Send(ctx context.Context, frames []link.Frame) error {
	var out []kafka.Message
	for i := range frames {
		frames[i].Group = t.group
		key := strconv.AppendInt(nil, int64(i), 10)
		split(&frames[i], func(f *link.Frame) { out = append(out, kafka.Message{Key: key, Value: f.Append(nil)}) })
	}
	return t.to.Produce(ctx, out...)
}

// Settle has nothing to wait for: what the brokers have acknowledged is on the topic.
func (t *linksTopic) Settle(context.Context, int32) error { return nil }

// split cuts a frame into some that are no larger than a message should be. All but the last say only that the source
// has come as far as it had before them.
func split(f *link.Frame, yield func(*link.Frame)) {
	part, size := *f, 0
	for from := 0; ; {
		to := from
		for size = 0; to < len(f.Records) && size < link.MaxFrame; to++ {
			size += len(f.Records[to].Data) + 16
		}
		part.Records = f.Records[from:to]
		if to == len(f.Records) {
			part.Watermark = f.Watermark
			yield(&part)
			return
		}
		part.Watermark = 0
		yield(&part)
		from = to
	}
}

// linksDecode makes an event of a frame, for the engine behind the exchange to read. What other groups say to theirs is
// passed over.
func linksDecode(group string) pipeline.Decode {
	var f link.Frame
	return func(m *kafka.Message, _ int64, next func() *event.Event) error {
		if err := f.Decode(m.Value); err != nil {
			return &event.Rejection{Code: event.CodeUnsupported, Field: "value", Rule: "must be a frame of links: " + err.Error()}
		}
		if f.Group != group {
			return decode.ErrNone
		}
		ev := next()
		ev.Reset()
		ev.Time, ev.Content = f.Watermark, unsafe.String(unsafe.SliceData(m.Value), len(m.Value)) // nobody writes to a message
		return nil
	}
}

// linkMetrics counts what exchanges do.
type linkMetrics struct {
	joined, repeated, early, damaged prometheus.Counter
	waiting                          *prometheus.GaugeVec
}

func newLinkMetrics(reg prometheus.Registerer) *linkMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_links_" + name, Help: help})
	}
	m := &linkMetrics{
		joined:   counter("joined_total", "Links counted behind the exchange."),
		repeated: counter("repeated_total", "Links left out because they had been counted."),
		early:    counter("early_total", "Links counted before every partition had come as far."),
		damaged:  counter("damaged_total", "Links that could not be read."),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_links_waiting", Help: "Links that wait for slower partitions."},
			[]string{"partition"}),
	}
	reg.MustRegister(m.joined, m.repeated, m.early, m.damaged, m.waiting)
	return m
}

// joins is an exchange whose work is counted. Like the engine it wraps it belongs to one goroutine.
type joins struct {
	*detect.Exchange
	m      *linkMetrics
	label  string
	before detect.ExchangeStats
	log    *slog.Logger
}

func (j *joins) Observe(ev *event.Event) {
	j.Exchange.Observe(ev)
	now := j.Stats()
	j.m.joined.Add(float64(now.Joined - j.before.Joined))
	j.m.repeated.Add(float64(now.Repeated - j.before.Repeated))
	j.m.early.Add(float64(now.Early - j.before.Early))
	j.m.damaged.Add(float64(now.Damaged - j.before.Damaged))
	j.m.waiting.WithLabelValues(j.label).Set(float64(now.Waiting))
	if now.Early > 0 && j.before.Early == 0 {
		j.log.Warn("app: more links wait for slower partitions than memory allows, the oldest no longer do; look for a partition of events whose lag is larger than the others'",
			"partition", j.label, "waiting", now.Waiting)
	}
	j.before = now
}

// exchange is how a worker on links is configured, on those of the topic or of this process. sources is how many partitions
// of events are waited for from the start.
func exchange(cfg Config, work pipeline.Config, detectors []detect.Detector, sources int, judge *judge, m *linkMetrics) pipeline.Config {
	work.NewBlock, work.NewDeduper, work.Exchange = nil, nil, nil
	work.NewDecode = func() pipeline.Decode { return linksDecode(cfg.Group) }
	work.NewEngine = func(_ string, partition int32) (pipeline.Engine, error) {
		x := detect.NewExchange(cfg.Detect, sources, detectors...)
		return judge.wrap(&joins{Exchange: x, m: m, label: fmt.Sprint(partition), log: cfg.Log}), nil
	}
	return work
}

// warnOfGrowth is a handler that says what no longer is as it was when the topic had only so many partitions.
func warnOfGrowth(sources int, log *slog.Logger, handler kafka.Handler) kafka.Handler {
	return func(ctx context.Context, a *kafka.Assignment) error {
		if int(a.Partition) >= sources {
			log.Warn("app: the topic of events has more partitions than when this instance began: until all instances are started again, what crosses the agents of two partitions is not judged, and detect.state_memory is shared among the partitions there were",
				"partition", a.Partition, "began_with", sources)
		}
		return handler(ctx, a)
	}
}
