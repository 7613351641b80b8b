package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// load is how far the process is behind and where its time went, read from its own metrics.
type load struct {
	lag      float64 // records
	events   float64 // worked off since the start
	insert   float64 // seconds spent in inserts since the start
	compute  float64 // seconds spent in decoding and detection since the start
	assigned float64 // partitions
}

func readLoad(gather prometheus.Gatherer) (l load, err error) {
	families, err := gather.Gather()
	if err != nil {
		return l, err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			switch f.GetName() {
			case "astray_kafka_lag_records":
				l.lag += v
			case "astray_events_total", "astray_events_duplicate_total":
				l.events += v
			case "astray_block_insert_seconds":
				l.insert += m.GetHistogram().GetSampleSum()
			case "astray_decode_seconds_total", "astray_detector_seconds_total":
				l.compute += v
			case "astray_kafka_assigned_partitions":
				l.assigned += v
			}
		}
	}
	return l, nil
}

// overload tells when events come faster than they are worked off, and what to do about it.
type overload struct {
	log    *slog.Logger
	behind time.Duration // what is taken for being behind, in time to work the lag off
	seen   []reading     // the last readings, oldest first
	over   bool
	told   time.Time
}

type reading struct {
	at time.Time
	load
}

const (
	// window is how many readings are compared: the lag is known from fetches, which come seldom when nothing is wanted.
	window = 6
	// again is how often a lag that goes on growing is told of.
	again = 10 * time.Minute
)

// look takes a reading. A lag that has grown over the window and takes longer than behind to work off is an overload;
// it is over when the lag takes less than a third of that.
func (o *overload) look(now time.Time, l load) {
	o.seen = append(o.seen, reading{now, l})
	if len(o.seen) < window {
		return
	}
	first := o.seen[0]
	o.seen = append(o.seen[:0], o.seen[1:]...)
	seconds := now.Sub(first.at).Seconds()
	if seconds <= 0 {
		return
	}
	rate := (l.events - first.events) / seconds
	enough := rate * o.behind.Seconds()
	switch {
	case l.lag > first.lag && l.lag > enough && (!o.over || now.Sub(o.told) >= again):
		o.over, o.told = true, now
		insert, compute := (l.insert-first.insert)/seconds, (l.compute-first.compute)/seconds
		// A partition decodes, detects and inserts at the same time; what is busiest bounds it.
		advice := "add instances, up to one for each partition, or partitions and instances: most time goes into decoding and detection"
		if insert >= compute {
			advice = "look at ClickHouse (disk, merges, network), and raise pipeline.block_rows: most time goes into inserts"
		}
		o.log.Warn("app: events come faster than they are worked off; they wait in Kafka, and memory does not grow. See that the topic's retention outlasts the lag, and "+advice,
			"lag", int64(l.lag), "growth_per_second", int64((l.lag-first.lag)/seconds), "events_per_second", int64(rate),
			"insert_seconds_per_second", insert, "compute_seconds_per_second", compute, "partitions", int(l.assigned))
	case o.over && l.lag*3 <= enough:
		o.over = false
		o.log.Info("app: events are worked off as fast as they come again", "lag", int64(l.lag), "events_per_second", int64(rate))
	}
}

// watchLoad looks until ctx ends.
func watchLoad(ctx context.Context, gather prometheus.Gatherer, every time.Duration, log *slog.Logger) {
	o := &overload{log: log, behind: 3 * every}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if l, err := readLoad(gather); err == nil { // whoever scrapes is told of errors
			o.look(time.Now(), l)
		}
	}
}
