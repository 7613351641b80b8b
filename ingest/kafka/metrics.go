package kafka

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the readers and writers of one process do.
//
//	astray_kafka_lag_records{topic,partition}            records between the one read last and the end of the log
//	astray_kafka_records_total{topic}                    records read
//	astray_kafka_bytes_total{topic}                      bytes of keys and values read
//	astray_kafka_gap_records_total{topic,reason}         records that can no longer be read ("retention"), or times that a log ended before what was to be read ("log_end") or was another topic's ("recreated")
//	astray_kafka_stalls_total{topic,reason}              times that a partition stood still although there was something to be read
//	astray_kafka_fetch_errors_total{topic}               fetches that failed and were tried again
//	astray_kafka_commit_errors_total{topic}              offset commits that the group refused
//	astray_kafka_generations_total                       consumer-group generations joined
//	astray_kafka_assigned_partitions                     partitions owned now
//	astray_kafka_produced_total{topic}                   messages acknowledged by all in-sync replicas
//	astray_kafka_produce_errors_total{topic}             attempts to write that failed
type Metrics struct {
	lag           *prometheus.GaugeVec
	records       *prometheus.CounterVec
	bytes         *prometheus.CounterVec
	gaps          *prometheus.CounterVec
	stalls        *prometheus.CounterVec
	fetchErrors   *prometheus.CounterVec
	commitErrors  *prometheus.CounterVec
	generations   prometheus.Counter
	assigned      prometheus.Gauge
	produced      *prometheus.CounterVec
	produceErrors *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them with reg unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_kafka_lag_records",
			Help: "Records between the one read last and the end of the log."}, []string{"topic", "partition"}),
		records:      counter("astray_kafka_records_total", "Records read.", "topic"),
		bytes:        counter("astray_kafka_bytes_total", "Bytes of keys and values read.", "topic"),
		gaps:         counter("astray_kafka_gap_records_total", "Records that can no longer be read, by reason.", "topic", "reason"),
		stalls:       counter("astray_kafka_stalls_total", "Times that a partition stood still although there was something to be read, by reason.", "topic", "reason"),
		fetchErrors:  counter("astray_kafka_fetch_errors_total", "Fetches that failed and were tried again.", "topic"),
		commitErrors: counter("astray_kafka_commit_errors_total", "Offset commits that the group refused.", "topic"),
		generations: prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_kafka_generations_total",
			Help: "Consumer-group generations joined."}),
		assigned: prometheus.NewGauge(prometheus.GaugeOpts{Name: "astray_kafka_assigned_partitions",
			Help: "Partitions owned now."}),
		produced:      counter("astray_kafka_produced_total", "Messages acknowledged by all in-sync replicas.", "topic"),
		produceErrors: counter("astray_kafka_produce_errors_total", "Attempts to write that failed.", "topic"),
	}
	if reg != nil {
		reg.MustRegister(m.lag, m.records, m.bytes, m.gaps, m.stalls, m.fetchErrors, m.commitErrors, m.generations,
			m.assigned, m.produced, m.produceErrors)
	}
	return m
}

// Beside returns metrics for a second group of the same process: what is told by topic is shared, generations and
// assigned partitions, which are the first group's, are not.
func (m *Metrics) Beside() *Metrics {
	c := *m
	own := NewMetrics(nil)
	c.generations, c.assigned = own.generations, own.assigned
	return &c
}
