// Package demo shows Astray at work: a broker and a database on loopback, the engine as `astray run` starts it, a
// simulated world of agents that goes astray now and then, and a screen that tells what is found.
//
// The world has a past, which is streamed as fast as the engine takes it, so that every agent has a baseline. What
// follows comes at a pace: the world's clock runs faster than the real one, until it has caught up with it.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/simulate"
)

// Config of a demo.
type Config struct {
	Agents  int
	History float64 // days of past
	Speed   float64 // of the world's clock after it; 1 is real time
	Seed    uint64
	Attacks []string // kinds, see simulate.Config

	Events io.Reader       // NDJSON that is streamed instead of a world
	Truth  *simulate.Truth // of Events, where it is known

	Duration time.Duration // it ends by itself after this long, 0 never
	Dir      string        // where broker and database keep what they have; a temporary directory when empty
	Brokers  []string      // of a broker that runs already
	DSN      string        // of a database that runs already

	// Grafana is where one is installed, Plugin the directory of the built app. Without a Grafana the screen tells how to
	// get one.
	Grafana, Plugin string

	App    app.Config // everything else about the engine
	Screen Screen
	Now    func() time.Time
}

const (
	// past is how far behind the clock the paced part of a world begins, so that it can run faster than the clock.
	past = 14 * 24 * time.Hour
	// ahead is how long a world goes on after it has caught up.
	ahead = 30 * 24 * time.Hour
	// between is the time between two attacks, in the world's time.
	between = 30 * time.Minute
	poll    = 500 * time.Millisecond
)

// kept is what a data directory remembers of the world in it, so that a later demo goes on with that world.
type kept struct {
	Agents  int
	History float64
	Seed    uint64
	Attacks []string
	Start   time.Time
	Key     []byte // of the fingerprints that stand for secrets
}

// Run runs a demo until stop is closed or Duration is over; then it works through what is on the topic and returns
// what the database says. When ctx ends it stops at once.
func Run(ctx context.Context, stop <-chan struct{}, cfg Config) (result Result, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.App.FingerprintKey) == 0 {
		cfg.App.FingerprintKey = make([]byte, 32)
		rand.Read(cfg.App.FingerprintKey)
	}
	d := &demo{cfg: cfg, registry: prometheus.NewRegistry(), truth: cfg.Truth}
	d.state.File = cfg.Events != nil
	defer func() {
		for _, end := range slices.Backward(d.ends) {
			err = errors.Join(err, end())
		}
	}()
	if err := d.start(ctx); err != nil {
		return Result{}, err
	}
	return d.run(ctx, stop)
}

type demo struct {
	cfg      Config
	registry *prometheus.Registry
	state    State
	world    *simulate.World
	truth    *simulate.Truth
	live     time.Time // begin of the paced part
	brokers  []string
	dsn      string
	ends     []func() error
	conn     native.Conn
	before   counts // what was in the database before
	done     uint64 // events of the world that were streamed by an earlier demo
	feed     *feed
	draining time.Time       // since when no more is to be streamed
	wall     time.Time       // of the last counting
	gone     <-chan struct{} // closed when Grafana has ended
}

func (d *demo) show() { d.cfg.Screen.Show(&d.state) }

// start starts what runs beside the engine, and plans the world.
func (d *demo) start(ctx context.Context) error {
	dir := d.cfg.Dir
	if dir == "" {
		temporary, err := os.MkdirTemp("", "astray-demo-")
		if err != nil {
			return err
		}
		dir = temporary
		d.ends = append(d.ends, func() error { return os.RemoveAll(temporary) })
	}
	analyst := d.cfg.DSN
	if d.dsn = d.cfg.DSN; d.dsn == "" {
		d.state.What, d.state.Progress = "starting the database", -1
		d.show()
		data := filepath.Join(dir, "clickhouse")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
		shown := time.Time{}
		server, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: data, Restart: true, Progress: func(what string, done, total int64) {
			if now := d.cfg.Now(); done == 0 || done >= total || now.Sub(shown) > 100*time.Millisecond {
				shown = now
				d.state.What, d.state.Progress = what, -1
				if total > 0 {
					d.state.Progress = float64(done) / float64(total)
				}
				d.show()
			}
		}})
		if err != nil {
			return err
		}
		d.ends = append(d.ends, func() error {
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return server.Stop(ending)
		})
		d.dsn = server.DSN()
		d.state.Query = []string{server.ClientCommand(), server.HTTPURL()}
		analyst = server.UserDSN(embedded.Analyst)
	}
	opt, err := native.ParseDSN(d.dsn)
	if err != nil {
		// The error of the parser can hold the password.
		return errors.New("--clickhouse-dsn: it is not a ClickHouse DSN")
	}
	if d.cfg.DSN != "" {
		d.state.Query = []string{command(opt)}
	}
	if d.conn, err = native.Open(opt); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	d.ends = append(d.ends, d.conn.Close)
	d.state.What, d.state.Progress = "starting the broker", -1
	d.show()
	if d.brokers = d.cfg.Brokers; len(d.brokers) == 0 {
		options := embedded.KafkaOptions{Topics: map[string]int32{app.Events: int32(max(d.cfg.App.Partitions, 1)), app.Alerts: 1, app.Dead: 1}, Retain: 128 << 20}
		if d.cfg.Dir != "" {
			options.Dir = filepath.Join(dir, "kafka")
		}
		broker, err := embedded.StartKafka(options)
		if err != nil {
			return err
		}
		d.ends = append(d.ends, func() error { broker.Stop(); return nil })
		d.brokers = broker.Brokers()
	}
	if err := d.grafana(ctx, dir, analyst); err != nil {
		return err
	}
	// What is there already is not this demo's, unless it goes on with a world.
	if c, err := d.count(ctx); err == nil {
		d.before = c
	}
	if d.cfg.Events != nil {
		return nil
	}
	return d.plan(ctx)
}

// command is how a person reaches a database that was named by a DSN, without its password.
func command(opt *native.Options) string {
	host, port, _ := strings.Cut(opt.Addr[0], ":")
	c := "clickhouse client --host " + host
	if port != "" {
		c += " --port " + port
	}
	if opt.Auth.Database != "" {
		c += " --database " + opt.Auth.Database
	}
	if opt.Auth.Username != "" {
		c += " --user " + opt.Auth.Username
	}
	if opt.Auth.Password != "" {
		c += " --password"
	}
	return Plain(c)
}

// plan makes the world, or the one that the data directory holds again.
func (d *demo) plan(ctx context.Context) error {
	c := d.cfg
	back := past
	if c.Speed <= 1 {
		back = 0
	}
	history := time.Duration(c.History * 24 * float64(time.Hour))
	k := kept{c.Agents, c.History, c.Seed, c.Attacks, c.Now().UTC().Truncate(time.Second).Add(-back - history), d.cfg.App.FingerprintKey}
	if own := c.Dir != "" && len(c.Brokers) == 0 && c.DSN == ""; own {
		name := filepath.Join(c.Dir, "demo.json")
		text, err := os.ReadFile(name)
		switch {
		case err == nil:
			if err := json.Unmarshal(text, &k); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if d.done, err = onTopic(ctx, d.brokers); err != nil {
				return err
			}
			// The events of all demos in this directory are one world's.
			d.before = counts{}
		case errors.Is(err, os.ErrNotExist):
			if text, err = json.MarshalIndent(k, "", " "); err != nil {
				return err
			}
			if err := os.WriteFile(name, append(text, '\n'), 0o600); err != nil {
				return err
			}
		default:
			return err
		}
	}
	d.cfg.App.FingerprintKey = k.Key
	d.live = k.Start.Add(time.Duration(k.History * 24 * float64(time.Hour)))
	end := c.Now().Add(ahead)
	w, err := simulate.New(simulate.Config{Agents: k.Agents, Days: end.Sub(k.Start).Hours() / 24, Seed: k.Seed, Start: k.Start,
		Attacks: k.Attacks, Quiet: k.History, Every: between})
	if err != nil {
		return err
	}
	d.world = w
	return nil
}

// onTopic is how many events are, or were, on the topic.
func onTopic(ctx context.Context, brokers []string) (n uint64, err error) {
	tr := &kafkago.Transport{}
	defer tr.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(brokers...), Timeout: 10 * time.Second, Transport: tr}
	meta, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{app.Events}})
	if err != nil {
		return 0, fmt.Errorf("topic %s: %w", app.Events, err)
	}
	var ask []kafkago.OffsetRequest
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			ask = append(ask, kafkago.LastOffsetOf(p.ID))
		}
	}
	got, err := client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{app.Events: ask}})
	if err != nil {
		return 0, fmt.Errorf("topic %s: %w", app.Events, err)
	}
	for _, p := range got.Topics[app.Events] {
		if p.Error != nil {
			return 0, fmt.Errorf("topic %s, partition %d: %w", app.Events, p.Partition, p.Error)
		}
		n += uint64(p.LastOffset)
	}
	return n, nil
}

func (d *demo) run(ctx context.Context, stop <-chan struct{}) (Result, error) {
	engine := d.cfg.App
	engine.Brokers, engine.DSN, engine.Registry = d.brokers, d.dsn, d.registry
	finish, ended := make(chan struct{}), make(chan error, 1)
	ctx, abort := context.WithCancel(ctx)
	go func() { ended <- app.Run(ctx, finish, engine) }()
	running := true
	d.feed = newFeed()
	d.feed.produced.Store(d.done)
	feedEnded := d.feed.ended
	// Whatever happens, what uses the database and the broker has ended before they do.
	defer func() {
		abort()
		if running {
			<-ended
		}
		if feedEnded != nil && d.world != nil {
			<-feedEnded
		}
	}()

	producer, err := kafka.NewProducer(kafka.Config{Brokers: d.brokers}, app.Events)
	if err != nil {
		feedEnded = nil
		return Result{}, err
	}
	if d.world != nil { // before the feed has it: a world is one goroutine's
		t := d.world.Truth()
		d.truth = &t
	}
	go func() {
		var err error
		if d.world != nil {
			err = d.feed.world(ctx, producer, d.world, d.live, d.cfg.Speed, d.done, d.cfg.Now)
		} else {
			err = d.feed.lines(ctx, producer, d.cfg.Events)
		}
		d.feed.ended <- errors.Join(err, producer.Close())
	}()
	d.state.Phase, d.state.Progress, d.state.What = History, 0, ""
	d.show()

	var over <-chan time.Time
	if d.cfg.Duration > 0 {
		t := time.NewTimer(d.cfg.Duration)
		defer t.Stop()
		over = t.C
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	history := d.feed.history
	if d.world == nil {
		history = nil
	}
	historyDone := false
	quit := func() {
		if d.state.Phase != Draining {
			d.state.Phase, d.draining = Draining, d.cfg.Now()
			close(d.feed.stop)
		}
	}
	still, lastSum := 0, uint64(0)
	for done := false; !done; {
		select {
		case <-ctx.Done():
			return Result{}, ctx.Err()
		case err := <-ended:
			running = false
			return Result{}, errors.Join(errors.New("the engine ended by itself"), err)
		case err := <-feedEnded:
			feedEnded = nil
			if d.world != nil { // now it is known when the attacks really began and ended
				t := d.world.Truth()
				d.truth = &t
			}
			if err != nil && !errors.Is(err, errEnough) {
				return Result{}, err
			}
		case <-d.gone:
			d.gone, d.state.Triage = nil, "Grafana has ended by itself"
		case <-history:
			historyDone, history = true, nil
		case <-over:
			over = nil
			quit()
		case <-stop:
			stop = nil
			quit()
		case <-tick.C:
			if err := d.look(ctx); err != nil {
				d.state.Trouble = Plain(err.Error())
				if len(d.state.Trouble) > 200 {
					d.state.Trouble = d.state.Trouble[:200]
				}
			} else {
				d.state.Trouble = ""
			}
			produced := d.feed.produced.Load()
			sum := d.state.Stored + d.state.Dead
			arrived := sum >= produced
			if d.state.Phase == History && historyDone && arrived {
				d.state.Phase, d.state.Rates = Live, nil
				close(d.feed.warm)
			}
			if sum != lastSum || d.state.Lag > 0 || d.state.Trouble != "" {
				still, lastSum = 0, sum
			} else {
				still++
			}
			// A read from a pipe cannot be interrupted: what it would still give is not waited for.
			fed := feedEnded == nil || d.world == nil && d.state.Phase == Draining && d.cfg.Now().Sub(d.draining) > 2*time.Second
			// Of messages with one id only the first is stored: then it is enough that all are read.
			done = fed && d.state.Phase == Draining && (arrived || still > 10)
			d.progress()
			d.show()
		}
	}
	close(finish)
	running = false
	if err := <-ended; err != nil {
		return Result{}, err
	}
	if err := d.look(ctx); err != nil {
		return Result{}, fmt.Errorf("database: %w", err)
	}
	d.show()
	result := Result{Produced: d.feed.produced.Load(), Stored: d.state.Stored, Dead: d.state.Dead, Alerts: uint64(len(d.state.Alerts)),
		Attacks: uint64(len(d.state.Attacks)), Found: uint64(len(d.state.Found))}
	if d.world == nil {
		result.Alerts -= min(result.Alerts, d.before.alerts)
	}
	return result, nil
}

// progress says how far the demo is, and how its time runs.
func (d *demo) progress() {
	s := &d.state
	if until := d.feed.until.Load(); until > 0 {
		s.Clock = time.UnixMicro(until).UTC()
	}
	if d.world == nil {
		s.Pace = "a file, at full speed"
		if s.Phase == History {
			s.Phase = Live
		}
		return
	}
	if s.Phase == History {
		start := time.Unix(d.truth.Start, 0)
		s.Progress = 0
		if p := d.feed.produced.Load(); p > 0 {
			s.Progress = min(1, s.Clock.Sub(start).Hours()/d.live.Sub(start).Hours()) * min(1, float64(s.Stored+s.Dead)/float64(p))
		}
		s.Pace = "the past, at full speed"
		return
	}
	switch {
	case s.Phase == Draining:
		s.Pace = ""
	case d.cfg.Speed <= 1 || d.feed.caughtUp.Load():
		s.Pace = "live, in real time"
	default:
		s.Pace = fmt.Sprintf("live, %s of its time each second", since(time.Duration(float64(time.Second)*d.cfg.Speed)))
	}
}

const unknownTable = 60

type counts struct{ stored, dead, alerts uint64 }

func (d *demo) count(ctx context.Context) (c counts, err error) {
	err = d.conn.QueryRow(ctx, "SELECT (SELECT count() FROM events), (SELECT count() FROM dead_letters FINAL), (SELECT count() FROM alerts FINAL)").
		Scan(&c.stored, &c.dead, &c.alerts)
	return c, err
}

// look reads the database and the engine's metrics.
func (d *demo) look(ctx context.Context) error {
	s := &d.state
	s.Produced = d.feed.produced.Load()
	if families, err := d.registry.Gather(); err == nil {
		s.Lag = 0
		agents := 0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				switch f.GetName() {
				case "astray_kafka_lag_records":
					s.Lag += m.GetGauge().GetValue()
				case "astray_agents":
					agents += int(m.GetGauge().GetValue())
				}
			}
		}
		if agents > 0 { // an engine that has ended has none
			s.Agents = agents
		}
	}
	d.feed.lag.Store(int64(s.Lag))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := d.count(ctx)
	if err != nil {
		if e := new(native.Exception); errors.As(err, &e) && e.Code == unknownTable {
			return nil // the engine has not made it yet
		}
		return err
	}
	now := d.cfg.Now()
	stored := c.stored - min(c.stored, d.before.stored)
	if took := now.Sub(d.wall).Seconds(); !d.wall.IsZero() && took > 0.2 {
		s.Rates = append(s.Rates, float64(stored-min(stored, s.Stored))/took)
		if len(s.Rates) > 120 {
			s.Rates = slices.Delete(s.Rates, 0, 1)
		}
		// Blocks are stored about once a second: the rate is that of the last four.
		recent := s.Rates[max(0, len(s.Rates)-8):]
		s.Rate = 0
		for _, r := range recent {
			s.Rate += r / float64(len(recent))
		}
	}
	d.wall = now
	s.Stored, s.Dead = stored, c.dead-min(c.dead, d.before.dead)
	return d.alerts(ctx)
}

// alerts reads the alerts as they stand, and compares them with the truth.
func (d *demo) alerts(ctx context.Context) error {
	from := time.Unix(0, 0)
	if d.world != nil {
		from = time.Unix(d.truth.Start, 0)
	}
	rows, err := d.conn.Query(ctx, "SELECT id, time, detector, severity, entity_id, agent_ids, reason FROM alerts FINAL WHERE time >= ? ORDER BY time, id LIMIT 100000", from)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []*Told
	for rows.Next() {
		var a Told
		if err := rows.Scan(&a.ID, &a.Time, &a.Detector, &a.Severity, &a.Entity, &a.Agents, &a.Reason); err != nil {
			return err
		}
		a.Reason = Plain(Sentence(a.Reason))
		all = append(all, &a)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if d.world != nil {
		until := time.UnixMicro(d.feed.until.Load())
		d.state.Attacks, d.state.Found = judge(d.truth, all, until)
		if d.state.Attacks == nil {
			d.state.Attacks = []simulate.Attack{}
		}
	} else if d.truth != nil {
		d.state.Attacks, d.state.Found = judge(d.truth, all, time.UnixMicro(d.feed.until.Load()))
	}
	for _, a := range all {
		a.Entity = Plain(a.Entity)
	}
	d.state.Alerts = all
	return nil
}
