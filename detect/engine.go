package detect

import (
	"math"
	"time"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/calibrate"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/evt"
)

// Config is what people may set. The zero value means the defaults.
type Config struct {
	// Budget is the alert budget: false alerts per 1,000 agent-days, over all detectors. Default 1.
	Budget float64
	// Gap is how long an episode may pause and still be the same alert. Default one hour.
	Gap time.Duration
	// Watch, when set, is shown each finding of each detector, in the order of the events, before any alert is raised.
	// It is for tests and tuning; the Look is valid until it returns.
	Watch func(*Look)
	// Links is the number of partitions of the exchange that judges what crosses agents, 0 when the engine does that
	// itself: there is but one partition of events, or each is to be seen alone.
	Links int
	// Memory is how much the states of agents may take, in bytes; 0 is without limit. Agents that were not seen for the
	// longest make room: see memory.go.
	Memory int64
	// Forget says that nobody keeps what has made room: the agent begins anew when it returns.
	Forget bool
	// Trusting turns off what resists poisoning: every window and day is learned as it is, whatever it shows and whatever
	// was told of it. It is there to measure what that resistance is worth, and no state depends on it but by what was learned.
	Trusting bool
}

// Score is the highest score any detector gave at an event.
type Score struct {
	Score                float64 // −log10 of the calibrated p-value; 0 when no detector spoke
	Detector             string
	EntityKind, EntityID string
}

// Engine runs detectors over the events of one partition, in order. It is used by one goroutine; two runs over
// the same events give the same alerts.
type Engine struct {
	cfg       Config
	mem       *memory // nil without a limit
	linked    bool    // it is an Exchange's
	detectors []Detector
	idle      []bool // detectors that run elsewhere
	infos     []Info
	lenses    []lens
	of        [][]int  // of the detector, indices of lenses
	quiet     evt.Tail // of what nobody has shown yet: what a new lens starts from
	alerted   float64  // share of the agent-days learned of late that had an alert
	threshold float64  // calibrated p-value at and below which a detector alerts
	share     float64  // a detector's part of the budget, false alerts per 1,000 agent-days
	store     *feature.Store
	tracks    map[uint64]*track   // of an exchange's agents
	day       []uint8             // by lens, of the day that learn is at; zeros otherwise
	shared    map[uint64]*episode // open alerts about what agents share, by entity
	aliases   map[uint64]uint64   // entities that are told with another's alert, and that other
	aliased   []uint64            // those since the last checkpoint
	ended     map[uint64]bool     // entities of either since then that are neither any more
	swept     int64               // hour of the last sweep
	cause     int                 // index of the detector of misused credentials, -1 when it is not run
	silence   int                 // index of the detector of silences, -1 when it is not run
	top       Score
	findings  []Finding
	crossed   []crossing
	changed   []*episode
	behind    []*episode // with behind set, in its order
	bands     bands
}

// New returns an engine that has seen nothing yet.
func New(cfg Config, detectors ...Detector) *Engine {
	if cfg.Budget <= 0 {
		cfg.Budget = 1
	}
	if cfg.Gap <= 0 {
		cfg.Gap = time.Hour
	}
	e := &Engine{cfg: cfg, detectors: detectors, of: make([][]int, len(detectors)),
		store: feature.NewStore(), tracks: map[uint64]*track{}, shared: map[uint64]*episode{}, aliases: map[uint64]uint64{}, ended: map[uint64]bool{}, silence: -1, cause: -1}
	e.idle = make([]bool, len(detectors))
	e.store.SetExchange(cfg.Links)
	if cfg.Trusting {
		e.store.Trust()
	}
	if cfg.Memory > 0 {
		e.mem = newMemory(cfg.Memory)
		e.store.Limit(cfg.Memory)
	}
	for i, d := range detectors {
		e.infos = append(e.infos, d.Info())
		e.idle[i] = cfg.Links > 0 && e.infos[i].Across == Wholly
		if e.infos[i].Cause {
			e.cause = i
		}
		if e.infos[i].Name == Silence {
			e.silence = i
		}
	}
	alerting := 0
	for _, info := range e.infos {
		if !info.Ranks {
			alerting++
		}
	}
	e.share = cfg.Budget / float64(max(alerting, 1))
	e.threshold = calibrate.Nominal(cfg.Budget) / 1000 / float64(max(alerting, 1))
	return e
}

// Observe counts one event, scores it and opens or updates the alerts it gives reason for.
func (e *Engine) Observe(ev *event.Event) {
	e.silences(ev)
	e.catchUp(ev.Time)
	if e.mem != nil {
		e.admit(ev)
	}
	v := e.store.Update(ev)
	e.judge(v)
	if e.mem != nil {
		e.settle(v.Agent)
	}
}

// Ahead may be called with the events that are observed next, and returns for how many of them it has done its work. They must
// stay as they are until they are observed or it is called again. No state changes: it brings what is known of their agents into the caches at once, where otherwise each event waits for
// its own.
func (e *Engine) Ahead(events []event.Event) int { return e.store.Ahead(events) }

// Links yields what the event observed last bears on, for each partition of the exchange that has to hear of it. The
// bytes are valid inside yield.
func (e *Engine) Links(yield func(partition int, data []byte)) { e.store.Links(yield) }

// judge scores what an event changed and opens or updates the alerts it gives reason for.
func (e *Engine) judge(v *feature.View) {
	e.sweep(e.store.Now())
	t := e.track(v.Agent, v.Event.Time)
	e.top = Score{}
	e.findings = e.findings[:0]
	e.crossed = e.crossed[:0]
	causeP, what, whatP := 1.0, -1, 1.0
	for i, d := range e.detectors {
		if e.idle[i] {
			continue
		}
		from := len(e.findings)
		e.findings = d.Examine(e.store, v, e.findings)
		mine := e.findings[from:]
		if len(mine) == 0 {
			continue
		}
		if t == nil {
			t = e.begin(v.Agent)
		}
		// best is the finding that ranks highest, loudest the rarest of those that may alert.
		best, loudest := -1, -1
		for k := range mine {
			f := &mine[k]
			e.weigh(t, i, f)
			if best < 0 || f.rank > mine[best].rank {
				best = k
			}
			if !f.Hint && (loudest < 0 || f.logP < mine[loudest].logP) {
				loudest = k
			}
		}
		if rank := math.Min(mine[best].rank, alert.MaxScore); rank > e.top.Score {
			kind, id := entity(v, mine[best].Entity)
			e.top = Score{rank, e.infos[i].Name, kind, id}
		}
		if e.cfg.Watch != nil {
			for k := range mine {
				e.watch(i, v.Agent.ID, v.Event.Time, mine[k], e.held(i, &mine[k]))
			}
		}
		if loudest < 0 {
			continue
		}
		f := &mine[loudest]
		p := math.Exp(f.logP)
		if i == e.cause && f.raw() >= causeRaw && f.Entity == nil {
			causeP = p
		}
		for j := range mine {
			if q := math.Exp(mine[j].logP); mine[j].Names && mine[j].Entity == nil && q < whatP {
				what, whatP = i, q
			}
		}
		if e.held(i, f) == "" {
			e.crossed = append(e.crossed, crossing{i, p, f.Entity, f.Share})
		}
	}
	// What is shared comes first: an agent's part in it is told with it.
	for _, c := range e.crossed {
		if c.entity != nil {
			e.raise(v, t, c)
		}
	}
	best := -1
	for i, c := range e.crossed {
		if c.entity == nil && (best < 0 || e.explains(c, e.crossed[best])) {
			best = i
		}
	}
	if best >= 0 {
		c := e.crossed[best]
		if e.cause >= 0 && c.detector != e.cause && causeP < 1 && !e.infos[c.detector].Daily {
			// Whoever uses a key in a strange place does something with it: the place is the cause.
			c = crossing{detector: e.cause, p: math.Min(c.p, causeP)}
		} else if e.infos[c.detector].Manner && whatP <= namesP {
			c = crossing{detector: what, p: math.Min(c.p, whatP)}
		}
		e.raise(v, t, c)
	}
}

// causeRaw is from what score on the cause of an episode names it although it would not alert by itself.
const causeRaw = 2.5

// namesP is from what p-value on a finding that Names does so.
const namesP = 0.003

// byFar is by which factor a general detector's score must exceed a specific one's to name the episode.
const byFar = 8

// far is byFar for a specific detector, unless what it found is most of what the agent does, which then is that and nothing
// else, or a small part of it, which then is by the way.
func (c *crossing) far() float64 {
	switch {
	case c.share >= 0.5:
		return 1e9
	case c.share > 0 && c.share < 0.25:
		return 1
	}
	return byFar
}

// explains reports whether a explains an episode better than b: the rarer one does, a general one only by far.
func (e *Engine) explains(a, b crossing) bool {
	if e.infos[a.detector].Daily != e.infos[b.detector].Daily {
		return e.infos[b.detector].Daily
	}
	if x, y := &e.infos[a.detector], &e.infos[b.detector]; x.Manner != y.Manner && !x.General && !y.General {
		return y.Manner
	}
	x, y := -math.Log10(math.Max(a.p, 1e-300)), -math.Log10(math.Max(b.p, 1e-300))
	if e.infos[a.detector].General {
		y *= b.far()
	}
	if e.infos[b.detector].General {
		x *= a.far()
	}
	if x == y {
		return e.infos[a.detector].Rank > e.infos[b.detector].Rank
	}
	return x > y
}

// rawNeeded is about what a finding needs to cross by itself, as a natural logarithm.
func (e *Engine) rawNeeded() float64 { return -math.Log(e.threshold) }

// Top is the highest score any detector gave at the event observed last.
func (e *Engine) Top() Score { return e.top }

// Agents is the number of agents known.
func (e *Engine) Agents() int {
	if e.mem != nil {
		return e.store.Len() + len(e.mem.tiny)
	}
	return e.store.Len()
}
