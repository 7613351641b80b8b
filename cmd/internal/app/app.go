// Package app builds the parts of Astray, starts them in order and stops them in reverse. It is the only place
// that knows them all.
package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Topics of the contract.
const (
	Events = "agent.events"
	Alerts = "agent.alerts"
	Dead   = "agent.dead"
	Links  = "agent.links"
)

// Config is what a running Astray needs. The zero value of a field but Brokers and DSN means its default.
type Config struct {
	Brokers     []string
	Group       string       // default "astray"
	Partitions  int          // of a topic of events that does not exist yet, default 4
	Replicas    int          // of topics that do not exist yet, default: the brokers'
	DSN         string       // ClickHouse
	Kafka       kafka.Config // everything else about brokers; brokers, group and topic are taken from here above
	EventsTopic string       // default Events
	AlertsTopic string       // default Alerts
	DeadTopic   string       // default Dead
	LinksTopic  string       // default Links

	Links          string // LinksAuto (the default), LinksOff, LinksTopic, LinksLocal
	LinkPartitions int    // of a topic of links that does not exist yet, default 1

	Detect      detect.Config
	Detectors   []string // names; default all
	Receive     Receive
	StateMemory int64 // bytes that the state of agents may take, over all partitions of the topic; 0: any

	InsertTimeout   time.Duration // default clickhouse.DefaultInsertTimeout
	BlockRows       int
	BlockAge        time.Duration
	AlertAge        time.Duration
	CheckpointEvery time.Duration
	LateAfter       time.Duration
	DuplicateWindow int                      // ids remembered per partition; 0: none
	DuplicateMemory int64                    // bytes per partition for the ids of whole days; 0: none are remembered
	Retention       map[string]time.Duration // by table; those not named keep what the schema says

	FingerprintKey []byte
	Suppressions   []triage.Suppression // beside those in the database
	Poll           time.Duration        // how often decisions are read, default 2 s

	DeadRowsPerHour  int   // default 100,000
	DeadBytesPerHour int64 // default 256 MiB

	// StartPause is the pause after the first failed attempt to reach ClickHouse or Kafka at the start, default 200 ms. It
	// doubles up to a hundred times that.
	StartPause time.Duration

	// LoadEvery is how often the process looks whether it keeps up, default 10 s.
	LoadEvery time.Duration

	// Wall is the wall clock that events are judged by, default time.Now.
	Wall func() time.Time

	// Failpoint is called at every point of pipeline.Points, for tests that end the process there.
	Failpoint func(point string)

	HTTP     HTTP
	Version  string
	Log      *slog.Logger
	Registry prometheus.Registerer // default: one of its own; HTTP serves it if it gathers too
}

func (cfg Config) withDefaults() Config {
	cfg.Group = cmp.Or(cfg.Group, "astray")
	cfg.Partitions = cmp.Or(max(cfg.Partitions, 0), 4)
	cfg.EventsTopic = cmp.Or(cfg.EventsTopic, Events)
	cfg.AlertsTopic = cmp.Or(cfg.AlertsTopic, Alerts)
	cfg.DeadTopic = cmp.Or(cfg.DeadTopic, Dead)
	cfg.LinksTopic = cmp.Or(cfg.LinksTopic, Links)
	cfg.Links = cmp.Or(cfg.Links, LinksAuto)
	cfg.LinkPartitions = cmp.Or(max(cfg.LinkPartitions, 0), 1)
	cfg.Poll = cmp.Or(cfg.Poll, 2*time.Second)
	cfg.InsertTimeout = cmp.Or(cfg.InsertTimeout, clickhouse.DefaultInsertTimeout)
	cfg.DeadRowsPerHour = cmp.Or(cfg.DeadRowsPerHour, 100_000)
	cfg.DeadBytesPerHour = cmp.Or(cfg.DeadBytesPerHour, 256<<20)
	cfg.LoadEvery = cmp.Or(cfg.LoadEvery, 10*time.Second)
	cfg.StartPause = cmp.Or(cfg.StartPause, 200*time.Millisecond)
	cfg.HTTP.StalledAfter = cmp.Or(cfg.HTTP.StalledAfter, 2*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	return cfg
}

// processMetrics registers what is told of the process itself.
func processMetrics(version string, shares []detect.Share, reg prometheus.Registerer) {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_build_info", Help: "1, with what runs as labels."}, []string{"version", "go_version"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	share := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_detector_budget", Help: "Part of the alert budget, in false alerts per 1,000 agent-days."}, []string{"detector"})
	for _, s := range shares {
		share.WithLabelValues(s.Detector).Set(s.Budget)
	}
	reg.MustRegister(build, share, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Run waits for the database and the brokers, migrates the schema and works on the topic until stop is closed (it drains, checkpoints, commits and leaves
// the group, then returns nil) or ctx ends (it stops at once; what was not checkpointed is worked through again).
func Run(ctx context.Context, stop <-chan struct{}, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	log := cfg.Log
	detectors, err := catalog.Select(cfg.Detectors...)
	if err != nil {
		return fmt.Errorf("detectors: %w", err)
	}
	processMetrics(cfg.Version, detect.New(cfg.Detect, detectors...).Shares(), cfg.Registry)
	// From here on whoever asks can see what is waited for.
	if cfg.HTTP.Listen != "" {
		gather, ok := cfg.Registry.(prometheus.Gatherer)
		if !ok {
			return errors.New("metrics: the registry cannot be served")
		}
		health := &health{gather: gather, stalledAfter: cfg.HTTP.StalledAfter, now: time.Now,
			schema: func(ctx context.Context) error { return schemaCurrent(ctx, cfg.DSN) }}
		var stopServing func() error
		if stopServing, err = serve(cfg.HTTP, health, gather, log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopServing()) }()
	}
	defer func() {
		if errors.Is(err, errStopped) {
			log.Info("app: stopped while it waited; nothing had been begun")
			err = nil
		}
	}()
	begin := starter{log: log, first: cfg.StartPause, limit: 100 * cfg.StartPause}
	if err := clickhouse.CheckDSN(cfg.DSN); err != nil {
		return err
	}
	err = begin.await(ctx, stop, "ClickHouse", func(ctx context.Context) error {
		lim, cancel := context.WithTimeout(ctx, cfg.InsertTimeout)
		defer cancel()
		return clickhouse.Ping(lim, cfg.DSN)
	})
	if err != nil {
		return err
	}
	err = begin.await(ctx, stop, "the schema of ClickHouse", func(ctx context.Context) error {
		taken, err := clickhouse.Migrate(ctx, cfg.DSN)
		if err != nil {
			return err
		}
		log.Info("app: the schema is current", "steps_taken", len(taken))
		changed, err := clickhouse.SetRetention(ctx, cfg.DSN, cfg.Retention)
		if len(changed) > 0 {
			log.Info("app: retention changed", "tables", changed)
		}
		return err
	})
	if err != nil {
		return err
	}
	var db *clickhouse.Store
	err = begin.await(ctx, stop, "ClickHouse", func(ctx context.Context) (err error) {
		db, err = clickhouse.OpenWith(ctx, clickhouse.Options{DSN: cfg.DSN, InsertTimeout: cfg.InsertTimeout, Log: log})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var book *ledger.Ledger
	err = begin.await(ctx, stop, "ClickHouse", func(ctx context.Context) (err error) {
		book, err = ledger.Open(ctx, cfg.DSN)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()

	judge := newJudge(book, cfg.Suppressions, time.Now, log, cfg.Registry)
	// An alert that is allowed must not be raised because its rule was not read yet.
	if err := begin.await(ctx, stop, "suppressions and verdicts in ClickHouse", judge.poll); err != nil {
		return err
	}

	redactor := event.NewRedactor(cfg.FingerprintKey)
	if len(cfg.FingerprintKey) == 0 {
		log.Warn("app: no fingerprint key is set; fingerprints of secrets can be tried out by whoever has the program. Set fingerprint_key_file")
	}

	bus := cfg.Kafka
	bus.Brokers, bus.Group, bus.Topic, bus.Log, bus.Metrics = cfg.Brokers, cfg.Group, cfg.EventsTopic, log, kafka.NewMetrics(cfg.Registry)
	if err := bus.Check(); err != nil {
		return err
	}
	err = begin.await(ctx, stop, "Kafka", func(ctx context.Context) error {
		return kafka.CreateTopics(ctx, bus, kafka.TopicSpec{Name: cfg.EventsTopic, Partitions: cfg.Partitions, Replicas: cfg.Replicas},
			kafka.TopicSpec{Name: cfg.AlertsTopic, Replicas: cfg.Replicas}, kafka.TopicSpec{Name: cfg.DeadTopic, Replicas: cfg.Replicas})
	})
	if err != nil {
		return err
	}
	flood := newDam(cfg.DeadRowsPerHour, cfg.DeadBytesPerHour, time.Now, log, cfg.Registry)
	out, err := newSink(bus, cfg.AlertsTopic, cfg.DeadTopic, flood)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var sources int
	err = begin.await(ctx, stop, "the partitions of "+cfg.EventsTopic, func(ctx context.Context) (err error) {
		sources, err = kafka.Partitions(ctx, bus, cfg.EventsTopic)
		return err
	})
	if err != nil {
		return err
	}
	if cfg.StateMemory > 0 {
		// The same share for every partition, whoever owns it: what is where depends on its events alone.
		cfg.Detect.Memory = max(cfg.StateMemory/int64(sources), 1<<20)
	}
	var links *linksTopic
	if cfg.Links == LinksTopic || cfg.Links == LinksAuto && sources > 1 {
		err = begin.await(ctx, stop, "the topic "+cfg.LinksTopic, func(ctx context.Context) (err error) {
			links, err = newLinksTopic(ctx, bus, cfg.LinksTopic, cfg.LinkPartitions, cfg.Replicas)
			return err
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, links.Close()) }()
		cfg.Detect.Links = links.Partitions()
	} else if cfg.Links == LinksLocal {
		cfg.Detect.Links = 1
	}
	formats := pipeline.NewFormats(redactor, cfg.Registry)
	work := pipeline.Config{
		Store:    dammedStore{db, flood},
		NewBlock: func(claim pipeline.Checkpoint) (pipeline.Block, error) { return db.NewBlock(claim), nil },
		NewEngine: func(string, int32) (pipeline.Engine, error) {
			return judge.wrap(detect.New(cfg.Detect, detectors...)), nil
		},
		NewDecode: formats.Decode, Redact: redactor.Bytes,
		Sink: out, Log: log, Metrics: pipeline.NewMetrics(cfg.Registry),
		BlockRows: cfg.BlockRows, BlockAge: cfg.BlockAge, AlertAge: cfg.AlertAge, CheckpointEvery: cfg.CheckpointEvery,
		LateAfter: cfg.LateAfter, WriteTimeout: cfg.InsertTimeout, Failpoint: cfg.Failpoint, Wall: cfg.Wall,
	}
	if cfg.DuplicateWindow > 0 {
		window := cfg.DuplicateWindow
		if work.DuplicateMemory = cfg.DuplicateMemory; work.DuplicateMemory > 0 {
			// The database is asked about older ones: those that it may not have yet must be in the window.
			window = max(window, 4*cmp.Or(cfg.BlockRows, 50_000))
		}
		work.NewDeduper = func() pipeline.Deduper { return pipeline.NewWindow(window) }
	}
	join := func(context.Context, <-chan struct{}) error { return nil }
	beside := work
	beside.Metrics = work.Metrics.Beside()
	var local *localLinks
	switch {
	case links != nil:
		work.Exchange = links
		joiner, err := pipeline.New(exchange(cfg, beside, detectors, sources, judge, newLinkMetrics(cfg.Registry)))
		if err != nil {
			return err
		}
		group := bus
		group.Group, group.Topic, group.Reset, group.Metrics = cfg.Group+".links", cfg.LinksTopic, kafka.Earliest, bus.Metrics.Beside()
		join = func(ctx context.Context, stop <-chan struct{}) error {
			return kafka.Run(ctx, stop, group, joiner.Handle)
		}
	case cfg.Detect.Links > 0:
		m := newLinkMetrics(cfg.Registry)
		local = &localLinks{topic: cfg.LinksTopic + ".local", group: cfg.Group, total: sources, log: log,
			worker: func(sources int) (*pipeline.Worker, error) {
				return pipeline.New(exchange(cfg, beside, detectors, sources, judge, m))
			}}
		work.Exchange = local
	}
	worker, err := pipeline.New(work)
	if err != nil {
		return err
	}
	handle := worker.Handle
	if local != nil {
		handle = func(ctx context.Context, a *kafka.Assignment) error { return local.run(ctx, a, worker.Handle) }
	} else if links == nil && cfg.Links == LinksAuto {
		handle = warnOfGrowth(sources, log, worker.Handle)
	}

	if cfg.Receive.Listen != "" {
		var stopReceiving func() error
		if stopReceiving, err = receive(ctx, cfg.Receive, bus, cfg.EventsTopic, log, cfg.Registry); err != nil {
			return err
		}
		// What was accepted is on the topic: it is read by whoever reads next.
		defer func() { err = errors.Join(err, stopReceiving()) }()
	}
	background, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { judge.run(background, cfg.Poll) })
	if gather, ok := cfg.Registry.(prometheus.Gatherer); ok {
		wg.Go(func() { watchLoad(background, gather, cfg.LoadEvery, log) })
	}
	// The exchange ends last. What it has not read then stays on the topic for whoever reads next.
	enough, joined := make(chan struct{}), make(chan error, 1)
	go func() { joined <- join(ctx, enough) }()
	err = kafka.Run(ctx, stop, bus, handle)
	close(enough)
	return errors.Join(err, <-joined)
}

// schemaCurrent reports whether every migration that this program knows has been applied.
func schemaCurrent(ctx context.Context, dsn string) error {
	all, err := clickhouse.Status(ctx, dsn)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.Applied {
			return fmt.Errorf("migration %d has not been applied; run astray migrate up", m.Version)
		}
	}
	return nil
}

// sink copies alerts and dead letters to their topics.
type sink struct {
	alerts, dead *kafka.Producer
	dam          *dam
}

func newSink(bus kafka.Config, alertsTopic, deadTopic string, dam *dam) (*sink, error) {
	alerts, err := kafka.NewProducer(bus, alertsTopic)
	if err != nil {
		return nil, err
	}
	dead, err := kafka.NewProducer(bus, deadTopic)
	if err != nil {
		return nil, errors.Join(err, alerts.Close())
	}
	return &sink{alerts, dead, dam}, nil
}

func (s *sink) Close() error { return errors.Join(s.alerts.Close(), s.dead.Close()) }

// Alerts writes alerts, keyed by entity, so that all of one entity's stand in order. Suppressed ones are in the
// store alone: nobody is to be called for them.
func (s *sink) Alerts(ctx context.Context, alerts []*alert.Alert) error {
	out := make([]kafka.Message, 0, len(alerts))
	for _, a := range alerts {
		if a.SuppressedBy != "" {
			continue
		}
		value, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("alert %s: %w", a.ID, err)
		}
		out = append(out, kafka.Message{Key: []byte(a.EntityID), Value: value})
	}
	return s.alerts.Produce(ctx, out...)
}

// DeadLetters writes rejected messages with their position and reason in headers, and the headers that they had under names that
// begin with "message.".
func (s *sink) DeadLetters(ctx context.Context, letters []pipeline.DeadLetter) error {
	letters = s.dam.letThrough(letters)
	out := make([]kafka.Message, len(letters))
	for i, l := range letters {
		out[i] = kafka.Message{Key: l.Key, Value: l.Raw, Headers: []kafka.Header{
			{Key: "code", Value: []byte(l.Code)}, {Key: "field", Value: []byte(l.Field)}, {Key: "reason", Value: []byte(l.Reason)},
			{Key: "topic", Value: []byte(l.Position.Topic)}, {Key: "partition", Value: strconv.AppendInt(nil, int64(l.Position.Partition), 10)},
			{Key: "offset", Value: strconv.AppendInt(nil, l.Position.Offset, 10)},
		}}
		for _, h := range l.Headers {
			out[i].Headers = append(out[i].Headers, kafka.Header{Key: "message." + h.Key, Value: h.Value})
		}
	}
	return s.dead.Produce(ctx, out...)
}
