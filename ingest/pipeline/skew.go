package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Skew measures how far the clocks of producers are off. It shows them and applies nothing: event times stay as they
// were sent.
//
// What can be seen of a message is its delay: the timestamp of its record less the time of its (first) event. A delay is
// never negative unless the producer's clock is ahead of the one that stamped the record, and the smallest delay of
// many is that of an event which was sent at once. So the smallest delay over some ten minutes, taken negative, is the skew
// plus the shortest way to the broker: well above 0, the clock is ahead; well below, it is behind or the producer
// holds everything back. Where producers stamp the records themselves (CreateTime, with one clock for both), it
// shows only what they hold back; topics with message.timestamp.type=LogAppendTime show the skew.
//
// A producer is who the record's header "producer" names, else the source of a CloudEvent, the service.name of an
// export, the product of an OCSF event, else the agent. So that a million of them cost no memory, maxProducers are
// remembered, those seen last, and only the worst are shown by name.
type Skew struct {
	mu    sync.Mutex
	slots map[uint64]*producer // by hash of the name
	clock uint64               // counts observations, to tell the producer not seen for longest

	delay        prometheus.Histogram
	future       prometheus.Counter
	skew, skewed *prometheus.Desc
}

const (
	maxProducers  = 8192
	shownSkews    = 20
	skewWindow    = int64(5 * time.Minute / time.Microsecond) // two of them count
	shownSkewFrom = time.Second
)

// NewSkew registers with reg, unless that is nil:
//
//	astray_producer_clock_skew_seconds{producer}  the 20 largest of at least a second, ahead of the broker positive
//	astray_producers_skewed                       how many producers are off by a second or more
//	astray_event_delay_seconds                    record's timestamp less event time, of one event a message (histogram)
//	astray_events_ahead_total                     of these, events ahead of their record by more than a second
func NewSkew(reg prometheus.Registerer) *Skew {
	s := &Skew{
		slots:  map[uint64]*producer{},
		skew:   prometheus.NewDesc("astray_producer_clock_skew_seconds", "How far a producer's clock is ahead of the broker's, the largest only.", []string{"producer"}, nil),
		skewed: prometheus.NewDesc("astray_producers_skewed", "Producers whose clocks are off by a second or more.", nil, nil),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "astray_event_delay_seconds",
			Help: "Timestamp of the record less time of the event.", Buckets: []float64{-60, -1, 0, 0.1, 1, 10, 60, 600, 3600, 86400}}),
		future: prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_events_ahead_total", Help: "Events more than a second ahead of their record."}),
	}
	if reg != nil {
		reg.MustRegister(s, s.delay, s.future)
	}
	return s
}

type producer struct {
	name          string
	used          uint64
	window        int64 // record time at which the present window began
	this, last    int64 // smallest delay of the present and of the last window, microseconds
	filled, whole bool  // whether they hold one
}

// Observe takes one event of a producer: its time and that of its record, microseconds since the epoch. It keeps
// nothing of name's memory, and may be called by several goroutines.
func (s *Skew) Observe(name string, event, record int64) {
	delay := record - event
	s.delay.Observe(float64(delay) / 1e6)
	if delay < -int64(time.Second/time.Microsecond) {
		s.future.Inc()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	h := xxhash.Sum64String(name)
	p := s.slots[h]
	if p == nil {
		if len(s.slots) >= maxProducers {
			s.forget()
		}
		p = &producer{name: strings.Clone(clipName(name)), window: record}
		s.slots[h] = p
	}
	p.used = s.clock
	if record-p.window >= skewWindow {
		p.last, p.whole = p.this, p.filled && record-p.window < 2*skewWindow
		p.window, p.filled = record, false
	}
	if !p.filled || delay < p.this {
		p.this, p.filled = delay, true
	}
}

// forget drops the eighth of the producers that were not seen for longest.
func (s *Skew) forget() {
	uses := make([]uint64, 0, len(s.slots))
	for _, p := range s.slots {
		uses = append(uses, p.used)
	}
	slices.Sort(uses)
	limit := uses[len(uses)/8]
	for h, p := range s.slots {
		if p.used <= limit {
			delete(s.slots, h)
		}
	}
}

func clipName(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// ahead is how far p's clock is ahead.
func (p *producer) ahead() time.Duration {
	d := p.this
	if p.whole {
		d = min(d, p.last)
	}
	return -time.Duration(d) * time.Microsecond
}

// Largest returns the n producers that are off the furthest, by at least from, and how many are.
func (s *Skew) Largest(n int, from time.Duration) (worst []ProducerSkew, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.slots {
		if d := p.ahead(); d.Abs() >= from {
			worst = append(worst, ProducerSkew{p.name, d})
		}
	}
	slices.SortFunc(worst, func(a, b ProducerSkew) int {
		return cmp.Or(cmp.Compare(b.Skew.Abs(), a.Skew.Abs()), cmp.Compare(a.Producer, b.Producer))
	})
	return worst[:min(n, len(worst))], len(worst)
}

// ProducerSkew is how far a producer's clock is ahead, negative when it is behind.
type ProducerSkew struct {
	Producer string
	Skew     time.Duration
}

// Describe implements prometheus.Collector.
func (s *Skew) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.skew
	ch <- s.skewed
}

// Collect implements prometheus.Collector.
func (s *Skew) Collect(ch chan<- prometheus.Metric) {
	worst, count := s.Largest(shownSkews, shownSkewFrom)
	shown := map[string]bool{} // long names may be the same when cut
	for _, p := range worst {
		if shown[p.Producer] {
			continue
		}
		shown[p.Producer] = true
		ch <- prometheus.MustNewConstMetric(s.skew, prometheus.GaugeValue, p.Skew.Seconds(), p.Producer)
	}
	ch <- prometheus.MustNewConstMetric(s.skewed, prometheus.GaugeValue, float64(count))
}
