// Package app builds the parts of Astray, starts them in order and stops them in reverse. It is the only place
// that knows them all.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Topics of the contract.
const (
	Events = "agent.events"
	Alerts = "agent.alerts"
	Dead   = "agent.dead"
)

// Config is what a running Astray needs.
type Config struct {
	Brokers    []string
	Group      string // default "astray"
	Partitions int    // of topics that do not exist yet, default 4
	DSN        string // ClickHouse
	Detect     detect.Config
	Receive    Receive

	DuplicateWindow int // ids remembered per partition; 0: none
	Log             *slog.Logger
	Registry        prometheus.Registerer
}

// Run migrates the schema and works on the topic until stop is closed (it drains, checkpoints, commits and leaves
// the group, then returns nil) or ctx ends (it stops at once; what was not checkpointed is worked through again).
func Run(ctx context.Context, stop <-chan struct{}, cfg Config) (err error) {
	if cfg.Group == "" {
		cfg.Group = "astray"
	}
	if cfg.Partitions <= 0 {
		cfg.Partitions = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	if _, err := clickhouse.Migrate(ctx, cfg.DSN); err != nil {
		return err
	}
	store, err := clickhouse.Open(ctx, cfg.DSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	bus := kafka.Config{Brokers: cfg.Brokers, Group: cfg.Group, Topic: Events, Log: cfg.Log, Metrics: kafka.NewMetrics(cfg.Registry)}
	err = kafka.CreateTopics(ctx, bus, kafka.TopicSpec{Name: Events, Partitions: cfg.Partitions},
		kafka.TopicSpec{Name: Alerts}, kafka.TopicSpec{Name: Dead})
	if err != nil {
		return err
	}
	out, err := newSink(bus)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	formats := pipeline.NewFormats(nil, cfg.Registry)
	work := pipeline.Config{
		Store:     store,
		NewBlock:  func(claim pipeline.Checkpoint) (pipeline.Block, error) { return store.NewBlock(claim), nil },
		NewEngine: func(string, int32) (pipeline.Engine, error) { return detect.New(cfg.Detect, catalog.All()...), nil },
		NewDecode: formats.Decode,
		Sink:      out, Log: cfg.Log, Metrics: pipeline.NewMetrics(cfg.Registry),
	}
	if cfg.DuplicateWindow > 0 {
		work.NewDeduper = func() pipeline.Deduper { return pipeline.NewWindow(cfg.DuplicateWindow) }
	}
	worker, err := pipeline.New(work)
	if err != nil {
		return err
	}
	if cfg.Receive.Listen != "" {
		var stopReceiving func() error
		if stopReceiving, err = receive(ctx, cfg.Receive, bus, Events, cfg.Log, cfg.Registry); err != nil {
			return err
		}
		// What was accepted is on the topic: it is read by whoever reads next.
		defer func() { err = errors.Join(err, stopReceiving()) }()
	}
	return kafka.Run(ctx, stop, bus, worker.Handle)
}

// sink copies alerts and dead letters to their topics.
type sink struct{ alerts, dead *kafka.Producer }

func newSink(bus kafka.Config) (*sink, error) {
	alerts, err := kafka.NewProducer(bus, Alerts)
	if err != nil {
		return nil, err
	}
	dead, err := kafka.NewProducer(bus, Dead)
	if err != nil {
		return nil, errors.Join(err, alerts.Close())
	}
	return &sink{alerts, dead}, nil
}

func (s *sink) Close() error { return errors.Join(s.alerts.Close(), s.dead.Close()) }

// Alerts writes alerts, keyed by entity, so that all of one entity's stand in order.
func (s *sink) Alerts(ctx context.Context, alerts []*alert.Alert) error {
	out := make([]kafka.Message, len(alerts))
	for i, a := range alerts {
		value, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("alert %s: %w", a.ID, err)
		}
		out[i] = kafka.Message{Key: []byte(a.EntityID), Value: value}
	}
	return s.alerts.Produce(ctx, out...)
}

// DeadLetters writes rejected messages with their position and reason in headers.
func (s *sink) DeadLetters(ctx context.Context, letters []pipeline.DeadLetter) error {
	out := make([]kafka.Message, len(letters))
	for i, l := range letters {
		out[i] = kafka.Message{Key: l.Key, Value: l.Raw, Headers: []kafka.Header{
			{Key: "code", Value: []byte(l.Code)}, {Key: "field", Value: []byte(l.Field)}, {Key: "reason", Value: []byte(l.Reason)},
			{Key: "topic", Value: []byte(l.Position.Topic)}, {Key: "partition", Value: strconv.AppendInt(nil, int64(l.Position.Partition), 10)},
			{Key: "offset", Value: strconv.AppendInt(nil, l.Position.Offset, 10)},
		}}
	}
	return s.dead.Produce(ctx, out...)
}
