package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the workers of one process do.
//
//	astray_events_total                          events accepted and observed, repeated ones after a crash included
//	astray_events_stored_total                   rows stored by this process
//	astray_events_repeated_total                 rows found stored already after a restart, and not stored again
//	astray_events_duplicate_total                events with an id that was there before on the same day, left out
//	astray_events_doubted_total                  events whose id the store was asked about
//	astray_events_late_total                     events more than an hour behind their partition, stored and marked
//	astray_dead_letters_total{code}              messages rejected, by reason
//	astray_dead_letters_uncopied_total           dead letters in the store that could not be copied to the topic
//	astray_alerts_total{detector}                alerts opened
//	astray_alert_updates_total{detector}         alerts updated
//	astray_block_rows                            rows per stored block (histogram)
//	astray_block_insert_seconds                  time to store a block (histogram)
//	astray_detector_seconds_total                time spent in detection
//	astray_decode_seconds_total                  time spent decoding
//	astray_agents{topic,partition}               agents with state in memory
//	astray_state_bytes{topic,partition}          memory their state takes
//	astray_checkpoint_age_seconds{topic,partition} age of the oldest record not yet under a checkpoint
//	astray_checkpoint_seconds                    time to write a checkpoint (histogram)
//	astray_checkpoint_states_total               entity states written with checkpoints
//	astray_checkpoint_bytes_total                bytes of those states
//	astray_restore_seconds                       time to take a partition over (histogram)
//	astray_states_rebuilt_total                  states that could not be restored and start anew
//	astray_retries_total{op}                     attempts that failed and were made again, by operation
//	astray_agents_folded_total                   agents seen once whose state was made small until they return
//	astray_agents_evicted_total                  agents whose state is in the store alone, for want of memory
//	astray_agents_returned_total                 agents whose state was brought back
//	astray_links_total                           links handed to the exchange: what events say about what agents share
//	astray_ownership_lost_total                  workers that stopped because another owner had claimed their partition
type Metrics struct {
	events, stored, repeated, duplicate, late prometheus.Counter
	dead                                      *prometheus.CounterVec
	uncopied                                  prometheus.Counter
	alerts, updates                           *prometheus.CounterVec
	blockRows, blockSeconds                   prometheus.Histogram
	detectSeconds, decodeSeconds              prometheus.Counter
	agents, stateBytes, checkpointAge         *prometheus.GaugeVec
	checkpointSeconds, restoreSeconds         prometheus.Histogram
	states, statesBytes, rebuilt              prometheus.Counter
	retries                                   *prometheus.CounterVec
	lost, links                               prometheus.Counter
	folded, evicted, returned, doubted        prometheus.Counter
}

// Beside returns metrics for workers on another topic of the same process: what is told by topic, of checkpoints, alerts
// and retries is shared, what counts events goes nowhere.
func (m *Metrics) Beside() *Metrics {
	c := NewMetrics(nil)
	c.dead, c.uncopied, c.alerts, c.updates = m.dead, m.uncopied, m.alerts, m.updates
	c.stateBytes, c.checkpointAge, c.retries, c.rebuilt, c.lost = m.stateBytes, m.checkpointAge, m.retries, m.rebuilt, m.lost
	c.states, c.statesBytes = m.states, m.statesBytes
	return c
}

// NewMetrics makes the metrics and registers them with reg unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_" + name, Help: help})
		all = append(all, c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "astray_" + name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	gauges := func(name, help string) *prometheus.GaugeVec {
		c := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_" + name, Help: help}, []string{"topic", "partition"})
		all = append(all, c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "astray_" + name, Help: help, Buckets: buckets})
		all = append(all, h)
		return h
	}
	seconds := prometheus.ExponentialBuckets(0.005, 2, 14) // 5 ms to 41 s
	m := &Metrics{
		events:            counter("events_total", "Events accepted and observed."),
		stored:            counter("events_stored_total", "Event rows stored."),
		repeated:          counter("events_repeated_total", "Event rows found stored already after a restart."),
		duplicate:         counter("events_duplicate_total", "Events left out because their id was there before on the same day."),
		late:              counter("events_late_total", "Events more than an hour behind their partition."),
		dead:              counters("dead_letters_total", "Messages rejected, by reason.", "code"),
		uncopied:          counter("dead_letters_uncopied_total", "Dead letters that could not be copied to the topic."),
		alerts:            counters("alerts_total", "Alerts opened.", "detector"),
		updates:           counters("alert_updates_total", "Alerts updated.", "detector"),
		blockRows:         histogram("block_rows", "Rows per stored block.", prometheus.ExponentialBuckets(1, 4, 10)),
		blockSeconds:      histogram("block_insert_seconds", "Time to store a block.", seconds),
		detectSeconds:     counter("detector_seconds_total", "Time spent in detection."),
		decodeSeconds:     counter("decode_seconds_total", "Time spent decoding."),
		agents:            gauges("agents", "Agents with state in memory."),
		stateBytes:        gauges("state_bytes", "Memory that the state of agents takes."),
		checkpointAge:     gauges("checkpoint_age_seconds", "Age of the oldest record not yet under a checkpoint."),
		checkpointSeconds: histogram("checkpoint_seconds", "Time to write a checkpoint.", seconds),
		restoreSeconds:    histogram("restore_seconds", "Time to take a partition over.", seconds),
		states:            counter("checkpoint_states_total", "Entity states written with checkpoints."),
		statesBytes:       counter("checkpoint_bytes_total", "Bytes of entity states written with checkpoints."),
		rebuilt:           counter("states_rebuilt_total", "States that could not be restored and start anew."),
		retries:           counters("retries_total", "Attempts that failed and were made again, by operation.", "op"),
		folded:            counter("agents_folded_total", "Agents seen once whose state was made small until they return."),
		evicted:           counter("agents_evicted_total", "Agents whose state went to the store, for want of memory."),
		returned:          counter("agents_returned_total", "Agents whose state was brought back."),
		doubted:           counter("events_doubted_total", "Events whose id the store was asked about."),
		links:             counter("links_total", "Links handed to the exchange: what events say about what agents share."),
		lost:              counter("ownership_lost_total", "Workers that stopped because another owner had claimed their partition."),
	}
	if reg != nil {
		reg.MustRegister(all...)
	}
	return m
}
