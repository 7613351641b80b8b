package app

import (
	"cmp"
	"context"
	"encoding/json"

	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Learner is an engine that learns from people: what an agent did in a span of time was benign. It is called on the
// engine's own goroutine, once for each verdict and agent; agents it does not know are to be ignored.
type Learner interface {
	Verdict(alertID, agentID string, from, to time.Time)
}

// decisions is where decisions of people are read; *ledger.Ledger is one.
type decisions interface {
	Suppressions(ctx context.Context) ([]triage.Suppression, error)
	Benign(ctx context.Context, since time.Time) ([]triage.Judgement, error)
}

const (
	// memory is how far back verdicts are read at the start, and remembered as applied.
	memory = 30 * 24 * time.Hour
	// overlap is read again at every turn: rows of several writers do not arrive in the order of their times.
	overlap = 10 * time.Minute
	// maxJudgements bounds what is remembered.
	maxJudgements = 100_000
)

// judge reads suppressions and verdicts and has them ready for the engines.
type judge struct {
	from  decisions
	fixed []triage.Suppression // of the configuration
	now   func() time.Time
	log   *slog.Logger

	rules atomic.Pointer[triage.Rules]
	turns atomic.Int64 // grows with every judgement that is new

	mu    sync.Mutex
	all   []triage.Judgement // in the order in which they were found
	known map[string]time.Time
	since time.Time

	rulesGauge                   prometheus.Gauge
	hidden                       *prometheus.CounterVec
	verdicts, pollErrors, losses prometheus.Counter
	polled                       prometheus.Gauge
}

func newJudge(from decisions, fixed []triage.Suppression, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) *judge {
	j := &judge{from: from, fixed: fixed, now: now, log: log, known: map[string]time.Time{},
		rulesGauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "astray_suppressions", Help: "Suppressions known, expired ones included."}),
		hidden: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "astray_alerts_suppressed_total",
			Help: "Alert revisions that a suppression hid."}, []string{"detector"}),
		verdicts:   prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_verdicts_total", Help: "Benign verdicts handed to the engine of a partition."}),
		pollErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_triage_poll_errors_total", Help: "Failed attempts to read suppressions and verdicts."}),
		losses: prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_verdicts_unlearned_total",
			Help: "Benign verdicts that the engine has no way to learn from."}),
		polled: prometheus.NewGauge(prometheus.GaugeOpts{Name: "astray_triage_polled_timestamp_seconds",
			Help: "When suppressions and verdicts were last read, seconds since the epoch."}),
	}
	j.rules.Store(triage.NewRules(fixed))
	reg.MustRegister(j.rulesGauge, j.hidden, j.verdicts, j.pollErrors, j.losses, j.polled)
	return j
}

// poll reads once.
func (j *judge) poll(ctx context.Context) error {
	rules, err := j.from.Suppressions(ctx)
	if err != nil {
		return err
	}
	// Even if the verdicts cannot be read, the rules count.
	j.rules.Store(triage.NewRules(append(slices.Clone(j.fixed), rules...)))
	j.rulesGauge.Set(float64(j.rules.Load().Len()))
	now := j.now()
	j.mu.Lock()
	since := j.since
	j.mu.Unlock()
	if earliest := now.Add(-memory); since.Before(earliest) {
		since = earliest
	}
	found, err := j.from.Benign(ctx, since.Add(-overlap))
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	fresh := 0
	for _, x := range found {
		key := judgementKey(x)
		if _, ok := j.known[key]; ok {
			continue
		}
		j.known[key] = x.Time
		j.all = append(j.all, x)
		j.since = later(j.since, x.Time)
		fresh++
	}
	if fresh > 0 {
		j.turns.Add(1)
	}
	j.polled.Set(float64(now.Unix()))
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func judgementKey(x triage.Judgement) string { return x.ID + "/" + x.AgentID }

// run polls until ctx ends.
func (j *judge) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		lim, cancel := context.WithTimeout(ctx, max(5*time.Second, every))
		err := j.poll(lim)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil:
			j.pollErrors.Inc()
			if !failed {
				j.log.Warn("triage: suppressions and verdicts cannot be read; those that are known go on counting", "err", err)
			}
			failed = true
		case err == nil && failed:
			j.log.Info("triage: suppressions and verdicts are read again")
			failed = false
		}
	}
}

// after returns the judgements found after the first n.
func (j *judge) after(n int) []triage.Judgement {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all[n:len(j.all):len(j.all)]
}

// judged is an engine whose alerts are judged. Like the engine it wraps it belongs to one goroutine.
type judged struct {
	pipeline.Engine
	j       *judge
	turn    int64
	taken   int                  // judgements looked at
	applied map[string]time.Time // those that went into the engine's state, by key
	dirty   bool
}

func (j *judge) wrap(e pipeline.Engine) *judged {
	return &judged{Engine: e, j: j, turn: -1, applied: map[string]time.Time{}}
}

// appliedKey is the key of the wrapper's own state: which verdicts are in the state of this partition's agents, so that
// none counts twice after a restart.
const appliedKey = "triage/applied"

type appliedState struct {
	Version int                  `json:"version"`
	Applied map[string]time.Time `json:"applied"`
}

func (e *judged) Restore(key string, state []byte) error {
	if key != appliedKey {
		return e.Engine.Restore(key, state)
	}
	var s appliedState
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("verdicts applied: %w", err)
	}
	if s.Version != 1 {
		return fmt.Errorf("verdicts applied: version %d is not understood", s.Version)
	}
	if s.Applied != nil {
		e.applied = s.Applied
	}
	return nil
}

func (e *judged) Observe(ev *event.Event) {
	if e.turn != e.j.turns.Load() {
		e.learn()
	}
	e.Engine.Observe(ev)
}

// Ahead is that of the engine.
func (e *judged) Ahead(events []event.Event) int {
	if s, ok := e.Engine.(pipeline.Scout); ok {
		return s.Ahead(events)
	}
	return len(events)
}

// Links is that of the engine, nothing if it has none.
func (e *judged) Links(yield func(partition int, data []byte)) {
	if l, ok := e.Engine.(pipeline.Linker); ok {
		l.Links(yield)
	}
}

// What follows passes the calls of pipeline.Evictor on to an engine that is one.

func (e *judged) Away(ev *event.Event, yield func(key string)) {
	if x, ok := e.Engine.(pipeline.Evictor); ok {
		x.Away(ev, yield)
	}
}

func (e *judged) Bring(key string, state []byte) error {
	if x, ok := e.Engine.(pipeline.Evictor); ok {
		return x.Bring(key, state)
	}
	return e.Restore(key, state)
}

func (e *judged) Full() bool {
	x, ok := e.Engine.(pipeline.Evictor)
	return ok && x.Full()
}

func (e *judged) Saved(n uint64) {
	if x, ok := e.Engine.(pipeline.Evictor); ok {
		x.Saved(n)
	}
}

func (e *judged) Moved() (folded, evicted, returned uint64) {
	if x, ok := e.Engine.(pipeline.Evictor); ok {
		return x.Moved()
	}
	return 0, 0, 0
}

// learn hands the engine the verdicts that are new to it.
func (e *judged) learn() {
	e.turn = e.j.turns.Load()
	fresh := e.j.after(e.taken)
	e.taken += len(fresh)
	learner, can := e.Engine.(Learner)
	for _, x := range fresh {
		key := judgementKey(x)
		if _, done := e.applied[key]; done {
			continue
		}
		if can {
			learner.Verdict(x.AlertID, x.AgentID, x.From, x.To)
			e.j.verdicts.Inc()
		} else {
			e.j.losses.Inc()
		}
		e.applied[key] = x.Time
		e.dirty = true
	}
}

func (e *judged) Alerts(yield func(*alert.Alert)) {
	rules, now := e.j.rules.Load(), e.j.now()
	e.Engine.Alerts(func(a *alert.Alert) {
		a.SuppressedBy = ""
		if s := rules.Hiding(a, now); s != nil {
			a.SuppressedBy = s.ID
			e.j.hidden.WithLabelValues(a.Detector).Inc()
		}
		yield(a)
	})
}

func (e *judged) Checkpoint(yield func(key string, state []byte) error) error {
	if err := e.Engine.Checkpoint(yield); err != nil {
		return err
	}
	if !e.dirty {
		return nil
	}
	// What is older than any that is read again can be forgotten.
	old := e.j.now().Add(-memory - 2*overlap)
	keys := make([]string, 0, len(e.applied))
	for k, at := range e.applied {
		if at.Before(old) {
			delete(e.applied, k)
			continue
		}
		keys = append(keys, k)
	}
	if n := len(keys) - maxJudgements; n > 0 {
		slices.SortFunc(keys, func(a, b string) int { return cmp.Or(e.applied[a].Compare(e.applied[b]), cmp.Compare(a, b)) })
		for _, k := range keys[:n] {
			delete(e.applied, k)
		}
	}
	b, err := json.Marshal(appliedState{1, e.applied})
	if err != nil {
		return fmt.Errorf("verdicts applied: %w", err)
	}
	if err := yield(appliedKey, b); err != nil {
		return err
	}
	e.dirty = false
	return nil
}
