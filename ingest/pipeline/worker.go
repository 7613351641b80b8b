package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/event/link"
	"github.com/astray-dev/astray/ingest/kafka"
)

// ErrLost is returned by a worker whose partition was claimed by another owner while it ran.
var ErrLost = errors.New("pipeline: another owner has claimed the partition")

// Config is what a Worker works with. Store, NewEngine and NewDecode are needed.
type Config struct {
	Store Store
	// NewBlock returns an empty block for the rows of one owner of a partition; a worker has two at a time. Nil: events
	// are observed and not stored, as those of a topic that carries what was stored elsewhere already.
	NewBlock func(cp Checkpoint) (Block, error)
	// NewEngine returns an engine that has seen nothing, for one partition.
	NewEngine func(topic string, partition int32) (Engine, error)
	NewDecode func() Decode
	// NewDeduper makes the memory of ids; nil takes every event for new.
	NewDeduper func() Deduper
	// DuplicateMemory is how much memory of a partition tells which ids the store must be asked about, in bytes, so that an
	// id is found again within its day, when the Deduper has forgotten it. 0, or a store that is no Registrar: none is.
	DuplicateMemory int64
	Sink            Sink // nil: alerts and dead letters go to the store only
	// Exchange is told what crosses partitions, nil when nothing does. The engines are Linkers then.
	Exchange Exchange
	// LinkEvery is how often the exchange is told at least how far the partition has come, default 1 s.
	LinkEvery time.Duration

	// A block is stored when it has BlockRows rows (default 50,000) or BlockBytes bytes (default 64 MiB), when its oldest row
	// has waited for BlockAge (default 500 ms), or when an alert has waited for its events to be stored for AlertAge (default
	// 100 ms). While more than a block waits on the topic these ages, and LinkEvery, are ten times as long: what a reader far
	// behind gains by small blocks is nothing, and they cost the store several times as much.
	BlockRows          int
	BlockBytes         int
	BlockAge, AlertAge time.Duration
	// CheckpointEvery is the time between checkpoints, default 10 s. While more than a block waits on the topic it is three times
	// as long: nearly every state has changed by the next one, and reading a little again is nothing to who has all that to read.
	CheckpointEvery time.Duration
	// WriteTimeout bounds one attempt to write to the store, default 20 s. It must be shorter than the group's
	// session time-out: a write of an owner that lost its partition is then over when the next one begins.
	WriteTimeout time.Duration
	// SinkTimeout bounds the attempts to copy dead letters to the topic, default 10 s: the store has them, and
	// an unwritable topic must not stop the stream. Alerts are tried for as long as it takes.
	SinkTimeout time.Duration
	// RetryPause is the pause after a first failure, default 100 ms; it doubles with every further one up to a
	// hundred times that.
	RetryPause time.Duration
	// LateAfter is how far behind its partition an event may be before it is marked, default 1 h.
	LateAfter time.Duration
	// Redact replaces secrets in the raw bytes of a dead letter. Nil keeps no raw bytes at all.
	Redact func(raw []byte) []byte

	Log     *slog.Logger
	Metrics *Metrics
	// Now tells how long something takes, default time.Now; Wall what time it is, default Now. The wall clock may be put
	// forward or back at any moment.
	Now, Wall func() time.Time
	Failpoint func(point string) // called at every point of Points; nil in production

	rowless bool // NewBlock was nil
}

// Worker works on partitions, any number at a time.
type Worker struct{ cfg Config }

// New checks cfg and returns a Worker.
func New(cfg Config) (*Worker, error) {
	for _, f := range []struct {
		name string
		ok   bool
	}{{"Store", cfg.Store != nil}, {"NewEngine", cfg.NewEngine != nil}, {"NewDecode", cfg.NewDecode != nil}} {
		if !f.ok {
			return nil, fmt.Errorf("pipeline: %s: is needed", f.name)
		}
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if cfg.NewBlock == nil {
		cfg.rowless = true
		cfg.NewBlock = func(Checkpoint) (Block, error) { return noRows{}, nil }
	}
	if cfg.BlockRows <= 0 {
		cfg.BlockRows = 50_000
	}
	if cfg.BlockBytes <= 0 {
		cfg.BlockBytes = 64 << 20
	}
	def(&cfg.BlockAge, 500*time.Millisecond)
	def(&cfg.AlertAge, 100*time.Millisecond)
	def(&cfg.CheckpointEvery, 10*time.Second)
	def(&cfg.WriteTimeout, 20*time.Second)
	def(&cfg.SinkTimeout, 10*time.Second)
	def(&cfg.RetryPause, 100*time.Millisecond)
	def(&cfg.LateAfter, time.Hour)
	def(&cfg.LinkEvery, time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wall == nil {
		cfg.Wall = cfg.Now
	}
	return &Worker{cfg}, nil
}

// noRows is a Block for events that are not stored.
type noRows struct{}

func (noRows) Append(*event.Event, event.Position, bool) {}
func (noRows) Rows() int                                 { return 0 }
func (noRows) Bytes() int                                { return 0 }
func (noRows) Flush(context.Context) error               { return nil }
func (noRows) Close() error                              { return nil }

// Handle works on an assignment of the consumer group; it is a kafka.Handler.
func (w *Worker) Handle(ctx context.Context, a *kafka.Assignment) error {
	return w.Run(ctx, assignment{a})
}

type assignment struct{ *kafka.Assignment }

func (a assignment) Open(offset int64, of kafka.TopicID) Log { return a.Assignment.Open(offset, of) }

// Run takes the partition over and works on it until src.Done is closed, when it writes down what it has done
// and returns nil, or until ctx ends, when it returns the context's error at once. Nothing is lost either way.
// Errors of the store and the sink are retried; other errors end it: ErrLost, and those of the engine.
func (w *Worker) Run(ctx context.Context, src Source) error {
	topic, part := src.Source()
	p := &partition{
		cfg: w.cfg, src: src, topic: topic, part: part, label: strconv.Itoa(int(part)), m: w.cfg.Metrics,
		log:    w.cfg.Log.With("topic", topic, "partition", part),
		blocks: make(chan Block, 2), units: make(chan unit),
	}
	defer func() {
		for _, g := range []*prometheus.GaugeVec{p.m.agents, p.m.stateBytes, p.m.checkpointAge} {
			g.DeleteLabelValues(topic, p.label)
		}
	}()
	err := p.run(ctx)
	if errors.Is(err, ErrLost) {
		p.m.lost.Inc()
	}
	return err
}

// partition is a Worker's work on one partition for the time of one assignment. Its fields belong to the
// goroutine of Run, except where said.
type partition struct {
	cfg   Config
	src   Source
	topic string
	part  int32
	label string
	log   *slog.Logger
	m     *Metrics

	engine    Engine
	dedupe    Deduper
	days      *days // nil without
	registrar Registrar
	claim     Checkpoint      // what this owner claimed the partition with
	stored    map[int32]int64 // day -> highest position stored before this owner came
	// outdated is the keys of states of an unknown version, until a checkpoint has replaced or removed them.
	outdated map[string]struct{}

	// Positions are Kafka's offsets plus base, which is 0 unless the log was made anew.
	base      int64
	pos       int64         // position of the next record
	of        kafka.TopicID // the topic that offsets are of
	saidOf    kafka.TopicID // the same as of the last checkpoint handed to the writer
	watermark int64         // the latest event time that a record's own timestamp vouches for

	// What clock tells goes on from here.
	tookOver   time.Time
	tookOverAt int64

	block      Block
	blocks     chan Block // empty blocks
	units      chan unit  // to the writer
	writeErr   error      // set before writeDone is closed
	writeDone  chan struct{}
	copyFailed bool      // of the dead letters before; the writer's
	blockSince time.Time // when the open block got its first row
	alertSince time.Time // when the first alert of the open unit came up
	alerts     []*alert.Alert
	revisions  map[string]struct{} // ids of alerts opened, to tell updates; bounded
	dead       []DeadLetter
	scout      Scout   // nil if the engine is none
	evictor    Evictor // nil if the engine is none, or the store no Returner
	returner   Returner
	away       map[string]struct{}
	moved      [3]uint64     // as Evictor.Moved said last
	saves      uint64        // calls of the engine's Checkpoint
	savedCalls atomic.Uint64 // … of these, those whose states are in the store
	savedSeen  uint64
	full       bool         // a checkpoint is due for want of memory
	behind     bool         // more than a block waits on the topic
	linker     Linker       // nil without an exchange
	frames     []link.Frame // one for each partition of the exchange, open
	linked     int          // records in frames
	linkBytes  int
	slab       []byte       // what records of open frames are cut from; never written to twice
	linkedAt   time.Time    // when frames were last handed to the writer
	atEnd      atomic.Int64 // position at which the reader found the end of the log, -1 elsewhere
	atEndSince atomic.Int64 // when it asked, microseconds since the epoch

	captured      int64 // position of the last checkpoint handed to the writer
	capturedAt    time.Time
	dirtySince    time.Time // when the first record after captured came
	inFlightSince time.Time // dirtySince of the checkpoint the writer has
	saved         chan struct{}
	lastGauges    time.Time
	pulse         *time.Ticker // keeps the gauges going while the writer is waited for
}

// unit is what the writer writes in one go, in the order of its fields.
type unit struct {
	block     Block // nil without rows
	dead      []DeadLetter
	alerts    []*alert.Alert
	frames    []link.Frame
	linked    int // records in frames
	baselines []baseline.Summary
	states    []State
	at        int64       // position the states are valid at
	cp        *Checkpoint // nil unless the unit completes a checkpoint
	base      int64       // of cp's offset
	began     time.Time   // of the checkpoint
	saves     uint64      // which it is of this engine's
}

const (
	workerKey     = "\x00worker" // the worker's own state; engines' keys do not begin with a NUL
	stateChunk    = 4 << 20      // bytes of states written in one go
	maxDeadBatch  = 1000
	maxAlertBatch = 1000
	maxRevisions  = 100_000
	maxLinkBytes  = 4 << 20
)

func (p *partition) run(ctx context.Context) error {
	t0 := p.cfg.Now()
	if err := p.takeOver(ctx); err != nil {
		return err
	}
	p.m.restoreSeconds.Observe(p.cfg.Now().Sub(t0).Seconds())
	p.log.Info("pipeline: partition taken over", "offset", p.pos-p.base, "epoch", p.claim.Epoch, "agents", p.engine.Agents(),
		"repeat_days", len(p.stored), "seconds", p.cfg.Now().Sub(t0).Seconds())

	for range 2 {
		b, err := p.cfg.NewBlock(p.claim)
		if err != nil {
			return fmt.Errorf("pipeline: new block: %w", err)
		}
		defer b.Close()
		p.blocks <- b
	}
	p.block = <-p.blocks
	p.atEnd.Store(-1)
	if e, ok := p.engine.(Evictor); ok {
		if p.returner, ok = p.cfg.Store.(Returner); ok {
			p.evictor, p.away = e, map[string]struct{}{}
		}
	}
	p.scout, _ = p.engine.(Scout)
	if p.cfg.Exchange != nil {
		var ok bool
		if p.linker, ok = p.engine.(Linker); !ok {
			return errors.New("pipeline: exchange: the engine has no links")
		}
		p.frames = make([]link.Frame, p.cfg.Exchange.Partitions())
	}
	p.revisions = map[string]struct{}{}
	p.captured, p.capturedAt = p.pos, p.cfg.Now()
	p.saved = make(chan struct{}, 1)
	p.pulse = time.NewTicker(time.Second)
	defer p.pulse.Stop()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var wg sync.WaitGroup
	decoded := p.read(readCtx, &wg)
	p.writeDone = make(chan struct{})
	wg.Go(func() {
		p.writeErr = p.write(ctx)
		close(p.writeDone)
	})
	err := p.observe(ctx, decoded)
	stopReading()
	if err == nil {
		err = p.checkpoint(ctx)
	}
	close(p.units)
	if err != nil {
		cancel()
	}
	<-p.writeDone
	if err == nil || errors.Is(err, errWriter) {
		err = p.writeErr
	}
	cancel()
	wg.Wait()
	return err
}

// Recaller is a Store that can tell which events came last, so that duplicates are found across restarts.
type Recaller interface {
	// Recent yields id and time of the last n stored events of the partition before cp.Offset, oldest first.
	Recent(ctx context.Context, cp Checkpoint, n int, yield func(id string, time int64)) error
}

// seed makes the memory of ids and fills it with those that were stored before the checkpoint.
func (p *partition) seed(ctx context.Context) error {
	p.dedupe = p.cfg.NewDeduper()
	w, ok := p.dedupe.(*Window)
	st, can := p.cfg.Store.(Recaller)
	if !ok || !can {
		return nil
	}
	return p.retry(ctx, "recent_ids", func(ctx context.Context) error {
		w.Clear()
		return st.Recent(ctx, p.claim, w.Cap(), func(id string, time int64) { w.Seen(Fingerprint(id, time)) })
	})
}

// takeOver claims the partition, fences the owner before, and restores what the checkpoint says.
func (p *partition) takeOver(ctx context.Context) error {
	st := p.cfg.Store
	var cp Checkpoint
	var ok bool
	err := p.retry(ctx, "load", func(ctx context.Context) (err error) {
		cp, ok, err = st.Load(ctx, p.topic, p.part)
		return err
	})
	if err != nil {
		return err
	}
	if !ok {
		if cp.Offset, err = p.src.Start(ctx); err != nil {
			return err
		}
	}
	now := p.cfg.Wall().UnixMicro()
	p.claim = Checkpoint{Topic: p.topic, Partition: p.part, Offset: cp.Offset, Epoch: max(cp.Epoch+1, uint64(now)), Time: now}
	// The claim fixes the place to begin at even if nothing comes of this owner: "latest" would be elsewhere later.
	p.tookOver, p.tookOverAt = p.cfg.Now(), now
	err = p.retry(ctx, "claim", func(ctx context.Context) error {
		if err := st.SaveCheckpoint(ctx, p.claim); err != nil {
			return err
		}
		own, _, err := st.Load(ctx, p.topic, p.part)
		p.tookOverAt = max(p.tookOverAt, own.Time)
		return err
	})
	if err != nil {
		return err
	}
	if behind := time.Duration(p.tookOverAt-now) * time.Microsecond; behind > 5*time.Minute {
		p.log.Warn("pipeline: this machine's clock is behind the database's; event times are judged by the later of the two. Set the clock", "behind", behind)
	}
	p.point(AfterClaim)
	if err := p.retry(ctx, "fence", func(ctx context.Context) error { return st.Fence(ctx, p.claim) }); err != nil {
		return err
	}
	p.point(AfterFence)
	err = p.retry(ctx, "stored_offsets", func(ctx context.Context) (err error) {
		p.stored, err = st.StoredOffsets(ctx, p.topic, p.part, p.claim.Offset)
		return err
	})
	if err != nil {
		return err
	}
	err = p.retry(ctx, "load_states", func(ctx context.Context) error {
		// Each attempt begins with an engine that knows nothing.
		if p.engine, err = p.cfg.NewEngine(p.topic, p.part); err != nil {
			return fmt.Errorf("new engine: %w", err)
		}
		p.base, p.watermark, p.of = 0, 0, kafka.TopicID{}
		p.outdated = map[string]struct{}{}
		return st.LoadStates(ctx, p.claim, p.restore)
	})
	if err != nil {
		return err
	}
	if len(p.outdated) > 0 {
		if err := p.rebuild(ctx); err != nil {
			return err
		}
	}
	if p.cfg.NewDeduper != nil {
		if err := p.seed(ctx); err != nil {
			return err
		}
		p.seedDays(ctx)
	}
	p.pos, p.saidOf = p.claim.Offset, p.of
	p.tookOverAt = max(p.tookOverAt, p.watermark)
	p.point(AfterRestore)
	// The group knows from here on that the partition is being read, and lag monitors how far it is.
	if err := p.src.Commit(ctx, p.pos-p.base); err != nil && ctx.Err() == nil {
		p.log.Debug("pipeline: offset not committed to the group", "err", err)
	}
	return nil
}

// clock is the time that a record's timestamp is held to, microseconds since the epoch. It never goes back: a wall clock
// that is put back must not make the events of now events of the future.
func (p *partition) clock() int64 {
	return max(p.cfg.Wall().UnixMicro(), p.tookOverAt+p.cfg.Now().Sub(p.tookOver).Microseconds())
}

func (p *partition) restore(key string, data []byte) error {
	if key == workerKey {
		// Version 1 had no topic.
		if !(len(data) == 17 && data[0] == 1 || len(data) == 33 && data[0] == 2) {
			return fmt.Errorf("pipeline: state of the worker of %s/%d: %d bytes of version %v are not understood", p.topic, p.part, len(data), data[:min(len(data), 1)])
		}
		copy(p.of[:], data[17:])
		p.base = int64(binary.LittleEndian.Uint64(data[1:]))
		p.watermark = int64(binary.LittleEndian.Uint64(data[9:]))
		return nil
	}
	err := p.engine.Restore(key, data)
	if old := (interface{ Outdated() bool })(nil); errors.As(err, &old) && old.Outdated() {
		p.outdated[strings.Clone(key)] = struct{}{}
		return nil
	}
	if err != nil {
		p.m.rebuilt.Inc()
		p.log.Warn("pipeline: a state cannot be restored, its entity starts anew", "bytes", len(data), "err", err)
	}
	return nil
}

// rebuild makes the engine anew from the stored events, because states were written by a version that this one does not
// read. Alerts that come up again have been told: they are not told again.
func (p *partition) rebuild(ctx context.Context) error {
	from, ok := p.cfg.Store.(Historian)
	if !ok || p.cfg.rowless {
		p.m.rebuilt.Add(float64(len(p.outdated)))
		p.log.Warn("pipeline: states are of an unknown version and there is no history to rebuild them from; what they were of begins anew", "states", len(p.outdated))
		return nil
	}
	p.log.Warn("pipeline: states are of an unknown version; the engine is rebuilt from the stored events", "states", len(p.outdated))
	t0 := p.cfg.Now()
	// A history is long: it has no deadline but the assignment's end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.src.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	for attempt := 1; ; attempt++ {
		e, err := p.cfg.NewEngine(p.topic, p.part)
		if err != nil {
			return fmt.Errorf("pipeline: new engine: %w", err)
		}
		n := 0
		err = from.History(ctx, p.claim, func(ev *event.Event) {
			e.Observe(ev)
			if n++; n%1000 == 0 {
				e.Alerts(func(*alert.Alert) {})
			}
		})
		if err == nil {
			e.Alerts(func(*alert.Alert) {})
			p.engine = e
			p.m.rebuilt.Add(float64(len(p.outdated)))
			p.log.Info("pipeline: the engine is rebuilt", "events", n, "agents", e.Agents(), "seconds", p.cfg.Now().Sub(t0).Seconds())
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.m.retries.WithLabelValues("history").Inc()
		p.log.Warn("pipeline: the history cannot be read, trying again from its beginning", "attempt", attempt, "err", err)
		t := time.NewTimer(min(p.cfg.RetryPause<<min(attempt-1, 10), 100*p.cfg.RetryPause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func (p *partition) ownState() []byte {
	b := append(make([]byte, 0, 33), 2)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.base))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.watermark))
	return append(b, p.of[:]...)
}

// observe is the main loop: it takes decoded batches through the engine into the open block.
func (p *partition) observe(ctx context.Context, decoded <-chan *batch) error {
	tick := time.NewTicker(min(p.cfg.BlockAge, p.cfg.AlertAge, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case b := <-decoded:
			err := p.process(ctx, b)
			b.release()
			if err != nil {
				return err
			}
		case <-tick.C:
		case <-p.saved:
			p.inFlightSince = time.Time{}
		case <-p.writeDone:
			return errWriter
		case <-p.src.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		now := p.cfg.Now()
		p.gauges(now)
		switch {
		case p.pos != p.captured && (p.full || p.wanted() || now.Sub(p.capturedAt) >= p.due()):
			if err := p.checkpoint(ctx); err != nil {
				return err
			}
		case p.block.Rows() >= p.cfg.BlockRows, p.block.Bytes() >= p.cfg.BlockBytes, len(p.dead) >= maxDeadBatch, len(p.alerts) >= maxAlertBatch,
			!p.blockSince.IsZero() && now.Sub(p.blockSince) >= p.patience(p.cfg.BlockAge),
			!p.alertSince.IsZero() && now.Sub(p.alertSince) >= p.patience(p.cfg.AlertAge),
			p.linkBytes >= maxLinkBytes, p.linker != nil && now.Sub(p.linkedAt) >= p.patience(p.cfg.LinkEvery):
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// wanted reports whether somebody waits for a checkpoint that can be made now.
func (p *partition) wanted() bool {
	w, ok := p.src.(Wanter)
	if !ok {
		return false
	}
	at := w.Wanted() + p.base
	return p.captured < at && p.pos >= at
}

// due is after how long there is a checkpoint that nobody waits for.
func (p *partition) due() time.Duration {
	// Those who feed a Wanter say when they need one.
	if _, asked := p.src.(Wanter); asked || p.behind {
		return 3 * p.cfg.CheckpointEvery
	}
	return p.cfg.CheckpointEvery
}

// patience is how long something may wait that waits for age as a rule.
func (p *partition) patience(age time.Duration) time.Duration {
	if p.behind {
		return 10 * age
	}
	return age
}

var errWriter = errors.New("pipeline: the writer has ended")

// process takes one batch through detection, in order.
func (p *partition) process(ctx context.Context, b *batch) error {
	now := p.cfg.Now()
	p.of = b.in.Topic
	p.behind = b.in.Lag() > int64(p.cfg.BlockRows)
	if g := b.in.Gap; g != nil && g.Restarted {
		// The log began anew, so offsets repeat. Positions go on above everything stored, and a checkpoint says
		// so before the first row does.
		for _, o := range p.stored {
			p.pos = max(p.pos, o+1)
		}
		p.base = p.pos - g.To
		p.log.Warn("pipeline: the log began anew; positions are offsets plus base from here on", "base", p.base)
		if err := p.checkpoint(ctx); err != nil {
			return err
		}
	} else if p.of != p.saidOf && p.pos == p.claim.Offset {
		// A checkpoint says which topic it is before anything was read, so that one of the same name is told from it.
		if err := p.checkpoint(ctx); err != nil {
			return err
		}
	}
	if next := b.in.Next + p.base; next > p.pos {
		if p.pos == p.captured {
			p.dirtySince = now
		}
		p.pos = next
	}
	for i := range b.dead {
		b.dead[i].Position.Offset += p.base
		p.m.dead.WithLabelValues(b.dead[i].Code).Inc()
	}
	p.dead = append(p.dead, b.dead...)
	if len(p.dead) > 0 && p.blockSince.IsZero() {
		p.blockSince = now
	}
	if len(b.events) == 0 {
		return nil
	}

	var late, repeated int
	duplicates, err := p.duplicates(ctx, b)
	if err != nil {
		return err
	}
	for i := range b.events {
		ev, r := &b.events[i], &b.refs[i]
		if r.skip {
			continue
		}
		// An event's own time moves the watermark only as far as its record's timestamp: one agent with a clock
		// that is ahead does not make all others late.
		p.watermark = max(p.watermark, min(ev.Time, r.time))
		if ev.Time < p.watermark-p.cfg.LateAfter.Microseconds() {
			r.late = true
			late++
		}
	}
	if err := p.bring(ctx, b); err != nil {
		return err
	}
	t0 := time.Now()
	ahead := 0
	var at *ref
	say := func(partition int, data []byte) { p.link(at, partition, data) }
	for i := range b.events {
		if p.scout != nil && i >= ahead {
			ahead += p.scout.Ahead(b.events[i:])
		}
		if !b.refs[i].skip {
			p.engine.Observe(&b.events[i])
			if p.linker != nil {
				at = &b.refs[i]
				p.linker.Links(say)
			}
		}
	}
	p.m.detectSeconds.Add(time.Since(t0).Seconds())
	if p.evictor != nil {
		p.full = p.evictor.Full()
		p.count()
	}
	for i := range b.events {
		r := &b.refs[i]
		if r.skip {
			continue
		}
		pos := event.Position{Topic: p.topic, Partition: p.part, Offset: r.offset + p.base, Index: r.index}
		if len(p.stored) > 0 {
			if top, ok := p.stored[dayOf(b.events[i].Time)]; ok && pos.Offset <= top {
				repeated++
				continue
			}
		}
		p.block.Append(&b.events[i], pos, r.late)
	}
	if len(p.stored) > 0 {
		maps.DeleteFunc(p.stored, func(_ int32, top int64) bool { return top < p.pos })
	}
	if (p.block.Rows() > 0 || p.linked > 0) && p.blockSince.IsZero() {
		p.blockSince = now
	}
	p.m.events.Add(float64(len(b.events) - duplicates))
	p.m.duplicate.Add(float64(duplicates))
	p.m.late.Add(float64(late))
	p.m.repeated.Add(float64(repeated))

	p.engine.Alerts(func(a *alert.Alert) {
		p.alerts = append(p.alerts, clone(a))
		if _, ok := p.revisions[a.ID]; ok || a.Revision > 1 && len(p.revisions) == 0 {
			p.m.updates.WithLabelValues(a.Detector).Inc()
			return
		}
		if len(p.revisions) >= maxRevisions {
			clear(p.revisions)
		}
		p.revisions[strings.Clone(a.ID)] = struct{}{}
		p.m.alerts.WithLabelValues(a.Detector).Inc()
	})
	if len(p.alerts) > 0 && p.alertSince.IsZero() {
		p.alertSince = now
	}
	return nil
}

// bring asks the store for the states that the batch needs and that the engine has let go of.
func (p *partition) bring(ctx context.Context, b *batch) error {
	if p.evictor == nil {
		return nil
	}
	if n := p.savedCalls.Load(); n != p.savedSeen {
		p.savedSeen = n
		p.evictor.Saved(n)
	}
	need := func(key string) { p.away[key] = struct{}{} }
	for i := range b.events {
		if !b.refs[i].skip {
			p.evictor.Away(&b.events[i], need)
		}
	}
	if len(p.away) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(p.away))
	clear(p.away)
	return p.retry(ctx, "return_states", func(ctx context.Context) error {
		return p.returner.States(ctx, p.claim, keys, func(key string, state []byte) error {
			if err := p.evictor.Bring(key, state); err != nil {
				p.m.rebuilt.Inc()
				p.log.Warn("pipeline: a state cannot be brought back, its entity starts anew", "bytes", len(state), "err", err)
			}
			return nil
		})
	})
}

// count tells how many agents were moved for want of memory, and what to do the first time that some had to go.
func (p *partition) count() {
	folded, evicted, returned := p.evictor.Moved()
	now := [3]uint64{folded, evicted, returned}
	if evicted > 0 && p.moved[1] == 0 {
		p.log.Warn("pipeline: the states of agents fill their memory: those that were not seen for the longest go to the database until they return; if they return often (astray_agents_returned_total), raise detect.state_memory",
			"evicted", evicted, "agents", p.engine.Agents(), "bytes", p.engine.StateBytes())
	}
	p.m.folded.Add(float64(now[0] - p.moved[0]))
	p.m.evicted.Add(float64(now[1] - p.moved[1]))
	p.m.returned.Add(float64(now[2] - p.moved[2]))
	p.moved = now
}

// link keeps what the event at r says to a partition of the exchange.
func (p *partition) link(r *ref, partition int, data []byte) {
	f := &p.frames[partition]
	if len(p.slab)+len(data) > cap(p.slab) {
		p.slab = make([]byte, 0, max(64<<10, len(data)))
	}
	n := len(p.slab)
	p.slab = append(p.slab, data...)
	f.Records = append(f.Records, link.Record{Offset: r.offset + p.base, Index: r.index, Data: p.slab[n:len(p.slab):len(p.slab)]})
	p.linked++
	p.linkBytes += len(data)
}

// takeFrames closes the open frames. There is one for each partition of the exchange even if it has no records: whoever
// reads it waits for the slowest partition.
func (p *partition) takeFrames(now time.Time) []link.Frame {
	if p.linker == nil {
		return nil
	}
	out := p.frames
	p.frames = make([]link.Frame, len(out))
	for i := range out {
		p.frames[i].Records = make([]link.Record, 0, len(out[i].Records)+len(out[i].Records)/8) // as many as last time
	}
	p.linked, p.linkBytes, p.linkedAt = 0, 0, now
	watermark := p.watermark
	if p.atEnd.Load() == p.pos-p.base {
		// Whatever is written from now on is hardly older than the moment at which there was nothing more.
		watermark = max(watermark, p.atEndSince.Load())
	}
	for i := range out {
		f := &out[i]
		f.Source, f.Epoch, f.Watermark, f.Sent = p.part, p.claim.Epoch, watermark, now.UnixMicro()
	}
	return out
}

// clone copies what an engine may change later.
func clone(a *alert.Alert) *alert.Alert {
	c := *a
	c.AgentIDs = slices.Clone(a.AgentIDs)
	c.Evidence = slices.Clone(a.Evidence)
	c.EventIDs = slices.Clone(a.EventIDs)
	return &c
}

// flush hands the open block and what depends on it to the writer. It waits while the writer is busy: that is
// what stops the stream when the store is slow.
func (p *partition) flush(ctx context.Context) error {
	u := unit{dead: p.dead, alerts: p.alerts, linked: p.linked}
	if p.block.Rows() > 0 {
		u.block = p.block
	}
	u.frames = p.takeFrames(p.cfg.Now())
	if u.block == nil && len(u.dead) == 0 && len(u.alerts) == 0 && len(u.frames) == 0 {
		return nil
	}
	if err := p.hand(ctx, u); err != nil {
		return err
	}
	p.dead, p.alerts = nil, nil
	p.blockSince, p.alertSince = time.Time{}, time.Time{}
	for u.block != nil {
		select {
		case p.block = <-p.blocks:
			return nil
		case <-p.writeDone:
			return errWriter
		case <-p.pulse.C:
			p.gauges(p.cfg.Now())
		}
	}
	return nil
}

// hand gives the writer a unit. While it waits the gauges go on, for that is when people look at them.
func (p *partition) hand(ctx context.Context, u unit) error {
	for {
		select {
		case p.units <- u:
			return nil
		case <-p.writeDone:
			return errWriter
		case <-ctx.Done():
			return ctx.Err()
		case <-p.pulse.C:
			p.gauges(p.cfg.Now())
		}
	}
}

// checkpoint hands everything up to the present position to the writer: rows first, then states, then the row that
// makes them count. States go in chunks, so that they are not all in memory twice.
func (p *partition) checkpoint(ctx context.Context) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	now := p.cfg.Now()
	p.capturedAt = now
	if p.pos == p.captured && p.pos == p.claim.Offset && p.base == 0 && p.of == p.saidOf {
		return nil // nothing was read
	}
	var chunk []State
	var slab []byte
	add := func(key string, data []byte) error {
		if len(slab)+len(data) > cap(slab) && len(slab) > 0 {
			if err := p.hand(ctx, unit{states: chunk, at: p.pos}); err != nil {
				return err
			}
			chunk, slab = nil, nil
		}
		if slab == nil {
			slab = make([]byte, 0, max(stateChunk, len(data)))
		}
		n := len(slab)
		slab = append(slab, data...)
		chunk = append(chunk, State{strings.Clone(key), slab[n:len(slab):len(slab)]})
		return nil
	}
	p.saidOf = p.of
	if err := add(workerKey, p.ownState()); err != nil {
		return err
	}
	err := p.engine.Checkpoint(func(key string, data []byte) error {
		delete(p.outdated, key)
		return add(key, data)
	})
	for key := range p.outdated {
		// What no new state has taken the place of must not be found again by the next owner.
		if err == nil {
			err = add(key, nil)
		}
	}
	p.outdated = nil
	if err != nil {
		return fmt.Errorf("pipeline: checkpoint of %s/%d at %d: %w", p.topic, p.part, p.pos, err)
	}
	p.saves++
	u := unit{states: chunk, at: p.pos, base: p.base, began: now, saves: p.saves}
	p.engine.Baselines(func(s *baseline.Summary) {
		c := *s
		c.EntityID, c.Feature, c.EntityKind = strings.Clone(s.EntityID), strings.Clone(s.Feature), strings.Clone(s.EntityKind)
		u.baselines = append(u.baselines, c)
	})
	cp := p.claim
	cp.Offset, cp.Time = p.pos, now.UnixMicro()
	u.cp = &cp
	if err := p.hand(ctx, u); err != nil {
		return err
	}
	p.captured = p.pos
	p.inFlightSince = p.dirtySince
	return nil
}

func (p *partition) gauges(now time.Time) {
	if now.Sub(p.lastGauges) < time.Second {
		return
	}
	p.lastGauges = now
	p.m.agents.WithLabelValues(p.topic, p.label).Set(float64(p.engine.Agents()))
	p.m.stateBytes.WithLabelValues(p.topic, p.label).Set(float64(p.engine.StateBytes()))
	age := 0.0
	switch {
	case !p.inFlightSince.IsZero():
		age = now.Sub(p.inFlightSince).Seconds()
	case p.pos != p.captured:
		age = now.Sub(p.dirtySince).Seconds()
	}
	p.m.checkpointAge.WithLabelValues(p.topic, p.label).Set(age)
}

// retry calls f until it succeeds, with growing pauses; only the end of ctx and ErrLost stop it.
func (p *partition) retry(ctx context.Context, op string, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, p.cfg.WriteTimeout)
			defer cancel()
			return f(ctx)
		}()
		if err == nil {
			if attempt > 1 {
				p.log.Info("pipeline: succeeded after retries", "op", op, "attempts", attempt)
			}
			return nil
		}
		if errors.Is(err, ErrLost) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.m.retries.WithLabelValues(op).Inc()
		pause := min(p.cfg.RetryPause<<min(attempt-1, 10), 100*p.cfg.RetryPause)
		pause = pause/2 + rand.N(pause/2+1)
		p.log.Warn("pipeline: failed, trying again; reading pauses meanwhile", "op", op, "attempt", attempt, "pause", pause, "err", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func (p *partition) point(name string) {
	if p.cfg.Failpoint != nil {
		p.cfg.Failpoint(name)
	}
}

// cut returns a copy of at most MaxDeadLetter bytes of b.
func cut(b []byte) []byte { return bytes.Clone(b[:min(len(b), MaxDeadLetter)]) }
