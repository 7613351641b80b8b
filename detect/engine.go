package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/calibrate"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/tail"
)

// Config is what people may set. The zero value means the defaults.
type Config struct {
	// Budget is the alert budget: false alerts per 1,000 agent-days, over all detectors. Default 1.
	Budget float64
	// Gap is how long an episode may pause and still be the same alert. Default one hour.
	Gap time.Duration
	// Watch, when set, is shown what each detector made of each event at which it spoke, before any alert is raised.
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
	of        [][]int        // of the detector, indices of lenses
	quiet     calibrate.Tail // of what nobody has shown yet: what a new lens starts from
	alerted   float64        // share of the agent-days learned of late that had an alert
	threshold float64        // calibrated p-value at and below which a detector alerts
	store     *feature.Store
	tracks    map[uint64]*track
	shared    map[uint64]*episode // open alerts about what agents share, by entity
	aliases   map[uint64]uint64   // entities that are told with another's alert, and that other
	aliased   []uint64            // those since the last checkpoint
	cause     int                 // index of the detector of misused credentials, -1 when it is not run
	silence   int                 // index of the detector of silences, -1 when it is not run
	top       Score
	findings  []Finding
	crossed   []crossing
	changed   []*episode
	behind    []*episode // with behind set, in its order
	bands     bands
}

// track is what the engine remembers of an agent beside its features.
type track struct {
	day  int64
	max  []uint8  // largest raw score of the day, per lens, as calibrate.Bin
	open *episode // about the agent
	with uint64   // entity of the open alert that the agent has a part in
}

// episode is one alert while it may still change.
type episode struct {
	alert    alert.Alert
	detector int
	share    float64 // of the events, as in crossing
	key      uint64  // of the entity, 0 for an agent's
	mask     uint64  // detectors that contributed
	saved    uint64  // revision in the last checkpoint
	last     int64
	told     int64 // when it was last told
	behind   int64 // since when there is more to tell, 0 when there is not
	pending  bool  // in Engine.changed
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
		store: feature.NewStore(), tracks: map[uint64]*track{}, shared: map[uint64]*episode{}, aliases: map[uint64]uint64{}, silence: -1, cause: -1}
	e.idle = make([]bool, len(detectors))
	e.store.SetExchange(cfg.Links)
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
	e.threshold = cfg.Budget / 1000 / float64(max(alerting, 1))
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

// Links yields what the event observed last bears on, for each partition of the exchange that has to hear of it. The
// bytes are valid inside yield.
func (e *Engine) Links(yield func(partition int, data []byte)) { e.store.Links(yield) }

// judge scores what an event changed and opens or updates the alerts it gives reason for.
func (e *Engine) judge(v *feature.View) {
	t := e.track(v.Agent, v.Event.Time)
	e.top = Score{}
	e.findings = e.findings[:0]
	e.crossed = e.crossed[:0]
	causeP := 1.0
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
			e.watch(i, v.Agent.ID, v.Event.Time, mine[best], e.held(i, &mine[best]))
		}
		if loudest < 0 {
			continue
		}
		f := &mine[loudest]
		p := math.Exp(f.logP)
		if i == e.cause && f.raw() >= causeRaw && f.Entity == nil {
			causeP = p
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
		}
		e.raise(v, t, c)
	}
}

// causeRaw is from what score on the cause of an episode names it although it would not alert by itself.
const causeRaw = 2.5

// told reports whether a detector's alert about the entity is open: calibration hears of what is shared once, not from
// each agent that has a part in it.
func (e *Engine) told(x *feature.Entity, detector int) bool {
	o := e.about(x.Key, x.Last*micros)
	return o != nil && o.has(detector)
}

const (
	micros = 1_000_000
	// warmDays is how many agent-days a detector must have seen before it alerts on a score below coldRaw.
	warmDays = 100
	coldRaw  = 20
)

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

// directLooks is about how many independent looks a direct detector takes at an agent in a day.
const directLooks = 2

// lens is one feature at one window length, as one detector sees it. Each is calibrated by itself.
type lens struct {
	detector int // -1 for one whose detector is no longer run
	name     string
	scale    feature.Scale
	kind     feature.EntityKind // of what is shared, NumEntityKinds for what is the agent's
	tail     calibrate.Tail
}

// compares reports whether what is seen through the lens is whole days, which takes days to be compared with.
func (l *lens) compares(info Info) bool { return info.Daily && l.scale == feature.Day }

// looks is about how many nearly independent looks a day takes through a window of a length.
var looks = [feature.NumScales]float64{200, 100, 24, 4}

// lens returns the index of the lens through which a detector sees a finding, made when it is new.
func (e *Engine) lens(detector int, f *Finding) int {
	kind := feature.NumEntityKinds
	if f.Entity != nil {
		kind = f.Entity.Kind
	}
	for _, i := range e.of[detector] {
		if l := &e.lenses[i]; l.scale == f.Scale && l.kind == kind && l.name == f.Name {
			return i
		}
	}
	l := lens{detector: detector, name: f.Name, scale: f.Scale, kind: kind}
	if !l.compares(e.infos[detector]) && (!e.infos[detector].Settles || e.store.Settled()) {
		l.tail = e.quiet
	}
	l.tail.Looks = looks[f.Scale]
	e.addLens(len(e.lenses), l)
	return len(e.lenses) - 1
}

// addLens puts a lens in its place; those before it that are not known yet are nobody's.
func (e *Engine) addLens(i int, l lens) {
	for len(e.lenses) <= i {
		e.lenses = append(e.lenses, lens{detector: -1})
	}
	e.lenses[i] = l
	e.of[l.detector] = append(e.of[l.detector], i)
	slices.Sort(e.of[l.detector])
}

// p is the share of benign agent-days in which any of the detector's lenses shows as much as a raw score does through
// one of them; for what is rare by itself it is as its probability says, for what is seen of it is mostly no benign
// traffic.
func (e *Engine) p(detector, lens int, raw float64) float64 {
	if e.infos[detector].Ranks {
		return math.Pow(10, -raw)
	}
	if e.infos[detector].Direct {
		return math.Min(1, directLooks*math.Pow(10, -raw))
	}
	return math.Min(1, float64(len(e.of[detector]))*e.lenses[lens].tail.P(raw))
}

// weigh calibrates a finding of a detector and remembers it for the agent's day.
func (e *Engine) weigh(t *track, detector int, f *Finding) {
	i := e.lens(detector, f)
	for len(t.max) <= i {
		t.max = append(t.max, 0)
	}
	if b := calibrate.Bin(f.raw()); b > t.max[i] && (f.Entity == nil || !e.told(f.Entity, detector)) {
		t.max[i] = b
	}
	f.by, f.logP = detector, math.Log(math.Max(e.p(detector, i, f.raw()), 1e-320))
	f.rank = e.rank(detector, i, f)
}

// warm reports whether the detector's calibration rests on enough agent-days.
func (e *Engine) warm(detector int) bool {
	return len(e.of[detector]) > 0 && e.lenses[e.of[detector][0]].tail.Days() >= warmDays
}

// rank is the score by which findings of all detectors are compared at an event; alerts are decided without it. What n
// agent-days have shown ends at a probability of about 1/n; beyond that a calibrated tail is extrapolation, and two
// extrapolations do not compare: there the rank grows with the logarithm of the score only. What other behaviours show as
// well, and what is said of a whole day and so of each of its events, counts half.
func (e *Engine) rank(detector, lens int, f *Finding) float64 {
	score := -f.logP / math.Ln10
	info := &e.infos[detector]
	if info.Direct || info.Ranks {
		return score
	}
	if beyond := score - math.Log10(e.lenses[lens].tail.Days()+calibrate.PriorDays); beyond > 0 {
		score += math.Log1p(beyond*math.Ln10)/math.Ln10 - beyond
	}
	if info.General || info.Daily && !f.Hint {
		score /= 2
	}
	return score
}

// crossing is a detector whose evidence is rarer than the budget allows, and what it is about.
type crossing struct {
	detector int
	p        float64
	entity   *feature.Entity // nil for the agent
	share    float64         // of the window's events, 0 when that is not known
}

// entity names what an alert is about in the contract's terms.
func entity(v *feature.View, e *feature.Entity) (kind, id string) {
	if e == nil {
		return alert.KindAgent, v.Agent.ID
	}
	switch e.Kind {
	case feature.Credential:
		return alert.KindCredential, e.Name
	case feature.Source:
		return alert.KindSource, e.Name
	}
	return alert.KindTemplate, e.Name
}

func (e *Engine) track(a *feature.Agent, now int64) *track {
	t := e.tracks[a.Key]
	day := now / 86_400_000_000
	if t == nil {
		t = &track{day: day}
		e.tracks[a.Key] = t
	}
	if day > t.day {
		e.learn(t, a.Compared())
		t.day = day
	}
	return t
}

// mostAlerted is up to what share of the agent-days those with an alert are left out of the calibration: beyond that
// they are the new normal.
const mostAlerted = 0.02

// learn gives the day that has ended to the calibration. A day with an alert is not one of the benign ones.
func (e *Engine) learn(t *track, compared bool) {
	const memory = 1000
	had := 0.0
	if since := t.day * 86400 * micros; t.open != nil && t.open.last >= since || e.shared[t.with] != nil && e.shared[t.with].last >= since {
		had = 1
	}
	e.alerted += (had - e.alerted) / memory
	early := t.day <= e.store.FirstDay()
	benign := had == 0 || e.alerted > mostAlerted
	switch {
	case early:
		e.quiet.LearnEarly(0)
	case benign:
		e.quiet.Learn(0)
	}
	for i := range e.lenses {
		l := &e.lenses[i]
		if l.detector < 0 || e.infos[l.detector].Settles && !e.store.Settled() {
			continue // it could not speak yet
		}
		if !compared && l.compares(e.infos[l.detector]) {
			continue // nor of this agent
		}
		raw := 0.0
		if i < len(t.max) {
			raw = calibrate.Raw(t.max[i])
			t.max[i] = 0
		}
		switch {
		case early:
			l.tail.LearnEarly(raw)
		case benign:
			l.tail.Learn(raw)
		}
	}
}

// current returns the episode that an event at now still belongs to, nil when there is none.
func (e *Engine) current(o *episode, now int64) *episode {
	if o == nil {
		return nil
	}
	gap := e.cfg.Gap.Microseconds()
	if o.key != 0 {
		gap *= sharedGap
	}
	if now-o.last > gap || now-o.alert.Time.UnixMicro() > 7*24*e.cfg.Gap.Microseconds() {
		return nil
	}
	return o
}

// about returns the open alert that tells of a shared entity, its own or another's, nil when there is none.
func (e *Engine) about(key uint64, now int64) *episode {
	if o := e.current(e.shared[key], now); o != nil {
		return o
	}
	if other, ok := e.aliases[key]; ok {
		return e.current(e.shared[other], now)
	}
	return nil
}

// crowd is the names of the agents that have a part in what crossed. An operation that everybody uses is none of
// everybody's doing: of a target's agents only as many count as the finding does, those seen last.
func (e *Engine) crowd(c crossing) []string {
	names := c.entity.Names
	if c.entity.Kind == feature.Target {
		n := 0.0
		for _, f := range e.findings {
			if f.Entity == c.entity {
				n = max(n, f.Observed)
			}
		}
		names = names[max(0, len(names)-int(n)):]
	}
	return names
}

// sameHand returns the open alert that is about mostly the same agents at the same time: a swarm that goes from object to
// object, or whose text has several templates, is one cause and one alert. Its entity is an alias from then on.
func (e *Engine) sameHand(c crossing, now int64) *episode {
	names := e.crowd(c)
	var best *episode
	most := 1 // two agents in common are the least
	for _, o := range e.shared {
		// Two detectors that see one crowd pass on one text see one cause.
		text := c.entity.Kind == feature.Template && o.alert.EntityKind == alert.KindTemplate
		if !o.has(c.detector) && !text || e.current(o, now) == nil || now-o.last > e.cfg.Gap.Microseconds() {
			continue
		}
		n := 0
		for _, name := range names {
			if slices.Contains(o.alert.AgentIDs, name) {
				n++
			}
		}
		if 3*n < 2*min(len(names), len(o.alert.AgentIDs)) {
			continue
		}
		if n > most || n == most && best != nil && o.alert.ID < best.alert.ID {
			best, most = o, n
		}
	}
	if best == nil {
		return nil
	}
	e.aliases[c.entity.Key] = best.key
	e.aliased = append(e.aliased, c.entity.Key)
	for _, name := range names {
		if !slices.Contains(best.alert.AgentIDs, name) && len(best.alert.AgentIDs) < maxAgentIDs {
			best.alert.AgentIDs = append(best.alert.AgentIDs, name)
		}
	}
	return best
}

func (e *Engine) raise(v *feature.View, t *track, c crossing) {
	now := v.Event.Time
	info := e.infos[c.detector]
	var o *episode
	if c.entity != nil {
		if o = e.about(c.entity.Key, now); o == nil {
			o = e.sameHand(c, now)
		}
	} else {
		o = e.current(t.open, now)
		if o == nil && t.open != nil && t.open.has(c.detector) && now-t.open.last < sameGap*e.cfg.Gap.Microseconds() {
			o = t.open // the same again
		}
		if o == nil && (info.Daily || info.Slow) && t.open != nil && now-t.open.last < 86400*micros {
			o = t.open // what was told stands in the day's account: it is not told again
		}
		if o != nil && !o.has(c.detector) && !info.Daily && now-o.alert.Time.UnixMicro() > e.cfg.Gap.Microseconds() {
			o = nil // something else, and long after: an alert of its own
		}
		if with := e.about(t.with, now); o == nil && with != nil && (info.Daily || with.has(c.detector)) {
			// The agent's part in something shared.
			o = with
		}
	}
	kind, id := entity(v, c.entity)
	if o == nil {
		at := stamp(now)
		o = &episode{detector: c.detector, alert: alert.Alert{
			ID: alertID(info.Name, id, now), Time: at, FirstSeen: at, EntityKind: kind, EntityID: id, Cohort: v.Agent.Cohort.Name,
			PValue: 1, BaselineVersion: "1", EventIDs: []string{},
		}}
		if c.entity != nil {
			e.shared[c.entity.Key] = o
			o.key = c.entity.Key
			o.alert.AgentIDs = append(o.alert.AgentIDs, e.crowd(c)...)
			delete(e.aliases, o.key)
		} else {
			t.open = o
		}
	}
	if c.entity != nil {
		t.with = c.entity.Key
	}
	o.mask |= 1 << c.detector
	a := &o.alert
	if !slices.Contains(a.AgentIDs, v.Agent.ID) && len(a.AgentIDs) < maxAgentIDs {
		a.AgentIDs = append(a.AgentIDs, v.Agent.ID)
	}
	o.last = now
	a.LastSeen = maxTime(a.LastSeen, stamp(now))
	a.EventCount++
	if len(a.EventIDs) < alert.MaxEventIDs {
		a.EventIDs = append(a.EventIDs, strings.Clone(v.Event.ID))
	}
	for _, f := range e.findings {
		if f.Entity == nil && !f.Hint && f.Scale <= feature.TenMinutes && -f.LogP > 0.8*e.rawNeeded() {
			v.Agent.Report()
		}
	}
	better := a.Detector == "" || c.detector == o.detector && c.p < a.PValue*muchBetter ||
		c.detector != o.detector && o.detector != e.cause && e.explains(c, crossing{detector: o.detector, p: a.PValue * muchBetter, share: o.share})
	if better {
		o.detector, o.share = c.detector, c.share
		a.Detector, a.DetectorVersion, a.Techniques = info.Name, info.Version, info.Techniques
		a.Title = fmt.Sprintf(info.Title, quoted(a.EntityID))
		a.PValue = math.Min(c.p, a.PValue)
		a.Score = math.Min(-math.Log10(math.Max(a.PValue, 1e-300)), alert.MaxScore)
		a.Confidence = confidence(a.PValue, e.threshold)
		var all []Finding
		for _, f := range e.findings {
			if !e.infos[f.by].Ranks && (f.Entity == c.entity || c.entity != nil && f.Entity == nil) {
				all = append(all, f)
			}
		}
		mine := own(c.detector, all)
		a.Evidence = evidence(mine, all)
		alert.Contribute(a.Score, a.Evidence)
		a.Severity = info.Severity
		a.Reason = reason(mine, info, v, c.entity)
		// Evidence of a window reaches back to where the window began.
		longest := a.Evidence[0].WindowSeconds
		from := time.Unix(now/1e6/longest*longest, 0).UTC()
		if from.Before(a.FirstSeen) {
			a.FirstSeen = from
		}
	}
	if a.EventCount > 1000 && a.Severity == alert.High {
		a.Severity = alert.Critical
	}
	a.Revision++
	switch {
	case better || now-o.told >= tellEvery:
		e.tell(o, now)
	case o.behind == 0:
		o.behind = now
		e.behind = append(e.behind, o)
	}
}

// tellEvery is how often, in microseconds of event time, an alert is told again only because it goes on.
const tellEvery = 10_000_000

// tell puts the alert among those that Alerts yields.
func (e *Engine) tell(o *episode, now int64) {
	o.told, o.behind = now, 0
	if !o.pending {
		o.pending = true
		e.changed = append(e.changed, o)
	}
}

// catchUp tells the alerts that went on since they were last told, all of them when now is the end of time.
func (e *Engine) catchUp(now int64) {
	n := 0
	for _, o := range e.behind {
		if o.behind == 0 {
			n++ // told meanwhile
			continue
		}
		if now-o.behind < tellEvery {
			break
		}
		e.tell(o, max(o.last, o.behind))
		n++
	}
	if n > 0 {
		e.behind = slices.Delete(e.behind, 0, n)
	}
}

// Finish is called when no more events come: Alerts then yields what is still to be told.
func (e *Engine) Finish() { e.catchUp(math.MaxInt64) }

const (
	// sharedGap is by how much longer the pause in what many do may be than in what one does.
	sharedGap = 24
	// sameGap is the same for an agent that does the same again.
	sameGap     = 6
	maxAgentIDs = 256
	// muchBetter is by which factor a p-value must fall for the alert to be explained anew.
	muchBetter = 0.1
)

// own is the findings of one detector: they come first in the evidence.
func own(detector int, all []Finding) []Finding {
	var mine []Finding
	for _, f := range all {
		if f.by == detector {
			mine = append(mine, f)
		}
	}
	if len(mine) == 0 {
		return all
	}
	return mine
}

func (o *episode) has(detector int) bool { return o.mask&(1<<detector) != 0 }

// silences raises an alert for every agent that has been silent for longer than its past allows.
func (e *Engine) silences(ev *event.Event) {
	if e.silence < 0 {
		return
	}
	e.store.Silents(func(s feature.Silent) {
		logP := s.LogP
		t := e.track(s.Agent, e.store.Now())
		f := Finding{Reading: feature.Reading{Name: "pause_seconds", Scale: feature.Day, Observed: math.Round(s.Pause), Mean: math.Round(s.Usual)}, LogP: logP}
		e.weigh(t, e.silence, &f)
		p := math.Exp(f.logP)
		if e.cfg.Watch != nil {
			held := ""
			if p > e.threshold {
				held = heldP
			}
			e.watch(e.silence, s.Agent.ID, e.store.Now(), f, held)
		}
		if p > e.threshold {
			return
		}
		s.Agent.Told()
		info := e.infos[e.silence]
		now, last := e.store.Now(), s.Agent.Last
		o := &episode{detector: e.silence, mask: 1 << e.silence, last: now, pending: true}
		o.alert = alert.Alert{
			ID: alertID(info.Name, s.Agent.ID, last), Time: stamp(now), FirstSeen: stamp(last), LastSeen: stamp(now),
			Detector: info.Name, DetectorVersion: info.Version, Techniques: info.Techniques, Severity: info.Severity,
			EntityKind: alert.KindAgent, EntityID: s.Agent.ID, AgentIDs: []string{s.Agent.ID}, Cohort: s.Agent.Cohort.Name,
			PValue: p, Score: -math.Log10(math.Max(p, 1e-300)), Confidence: confidence(p, e.threshold), BaselineVersion: "1",
			Title: fmt.Sprintf(info.Title, quoted(s.Agent.ID)), EventIDs: []string{}, Revision: 1,
			Reason: fmt.Sprintf("No event for %s; in %s pauses before, the longest was %s. %s", span(s.Pause), number(float64(s.Pauses)), span(s.Usual), info.Next),
			Evidence: []alert.Evidence{{Feature: "pause_seconds", Observed: math.Round(s.Pause), Expected: math.Round(s.Usual), Upper: math.Round(s.Usual),
				PValue: math.Exp(logP), WindowSeconds: int64(s.Pause)}},
		}
		alert.Contribute(o.alert.Score, o.alert.Evidence)
		t.open = o
		e.changed = append(e.changed, o)
	})
}

// span is a duration as a person writes it.
func span(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 172800:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// quoted shows a text from outside: short, on one line, with control and direction characters as escapes.
func quoted(s string) string {
	const most = 80
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// rawNeeded is about what a finding needs to cross by itself, as a natural logarithm.
func (e *Engine) rawNeeded() float64 { return -math.Log(e.threshold) }

// confidence is how far below the threshold the p-value lies, on a scale on which the threshold itself is 0.5
// and a millionth of it 0.95.
func confidence(p, threshold float64) float64 {
	d := math.Log10(threshold / math.Max(p, 1e-300))
	return math.Round((1-0.5/(1+1.5*math.Max(d, 0)))*1000) / 1000
}

// Top is the highest score any detector gave at the event observed last.
func (e *Engine) Top() Score { return e.top }

// Alerts yields the alerts opened or updated since the last call, in the order of their times and ids. The
// alert is a copy's worth of plain data that the engine does not change until the next Observe.
func (e *Engine) Alerts(yield func(*alert.Alert)) {
	slices.SortFunc(e.changed, func(a, b *episode) int {
		return cmp.Or(a.alert.Time.Compare(b.alert.Time), cmp.Compare(a.alert.ID, b.alert.ID))
	})
	for _, o := range e.changed {
		o.pending = false
		o.alert.Query = query(&o.alert, e.infos[o.detector].Where)
		yield(&o.alert)
	}
	e.changed = e.changed[:0]
}

// Agents is the number of agents known.
func (e *Engine) Agents() int {
	if e.mem != nil {
		return e.store.Len() + len(e.mem.tiny)
	}
	return e.store.Len()
}

func stamp(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func alertID(detector, entity string, start int64) string {
	h := xxhash.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d", detector, entity, start)
	a := h.Sum64()
	h.Write([]byte{1})
	return fmt.Sprintf("%016x%016x", a, h.Sum64())
}

// Silence is the name of the detector that is asked about agents that do nothing: the engine runs it by the clock.
const Silence = "silence"

// evidence is the strongest window of each feature, the naming detector's first, strongest first.
func evidence(mine, all []Finding) []alert.Evidence {
	best := strongest(mine)
	for _, f := range strongest(all) {
		if !slices.ContainsFunc(best, func(b Finding) bool { return b.Name == f.Name }) && len(best) < maxEvidence {
			best = append(best, f)
		}
	}
	out := make([]alert.Evidence, 0, len(best))
	for _, f := range best {
		x := alert.Evidence{Feature: f.Name, Observed: round(f.Observed), Expected: round(f.Mean),
			PValue: math.Exp(math.Max(f.LogP, -690)), WindowSeconds: f.Scale.Seconds()}
		if f.Variance > 0 {
			x.Lower, x.Upper = tail.CountBand(0.95, f.Mean, f.Variance)
		}
		out = append(out, x)
	}
	return out
}

const maxEvidence = 8

func strongest(fs []Finding) []Finding {
	var best []Finding
	for _, f := range fs {
		i := slices.IndexFunc(best, func(b Finding) bool { return b.Name == f.Name })
		switch {
		case i < 0:
			best = append(best, f)
		case f.logP < best[i].logP:
			best[i] = f
		}
	}
	slices.SortStableFunc(best, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.logP, b.logP), cmp.Compare(a.LogP, b.LogP), cmp.Compare(a.Name, b.Name))
	})
	return best
}

func round(x float64) float64 { return math.Round(x*100) / 100 }

// reason says in at most three sentences what happened, what would have been normal, and what to do.
func reason(fs []Finding, info Info, v *feature.View, e *feature.Entity) string {
	best := strongest(fs)
	f := best[0]
	var b strings.Builder
	b.WriteString(capital(phrase(f)))
	switch {
	case f.Variance == 0 && f.Usual != "":
		fmt.Fprintf(&b, "; %s", f.Usual)
	case f.Variance == 0:
		fmt.Fprintf(&b, "; its own past and its peers' make that a chance of 1 in %s", odds(f.LogP))
	case e != nil:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; %s (95 %%: %s–%s)", number(f.Mean), number(lo), number(hi))
		b.WriteString(" would have been normal")
		if n := e.Members(); n > 1 && e.Kind != feature.Target {
			fmt.Fprintf(&b, ", %s agents are known to take part", number(float64(n)))
		}
	case f.Own.N >= 6:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; this agent's own past says %s (95 %%: %s–%s)", number(f.Mean), number(lo), number(hi))
		if f.Peers.N >= 20 {
			fmt.Fprintf(&b, ", its cohort %s", number(float64(f.Peers.Mean)))
		}
	default:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; agents of its kind show %s (95 %%: %s–%s), and it has hardly a past of its own", number(f.Mean), number(lo), number(hi))
	}
	b.WriteString(". ")
	if len(best) > 1 {
		g := best[1]
		fmt.Fprintf(&b, "Also %s", phrase(g))
		if g.Variance > 0 {
			fmt.Fprintf(&b, " where %s were expected", number(g.Mean))
		}
		b.WriteString(". ")
	}
	b.WriteString(info.Next)
	return b.String()
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// odds is the inverse of a probability, given as a natural logarithm, as a person writes it.
func odds(logP float64) string {
	switch x := math.Exp(-logP); {
	case x < 1e6:
		return number(math.Pow(10, math.Floor(math.Log10(x))) * math.Round(x/math.Pow(10, math.Floor(math.Log10(x)))))
	case x < 1e9:
		return number(math.Round(x/1e6)) + " million"
	case x < 1e12:
		return number(math.Round(x/1e9)) + " billion"
	}
	return fmt.Sprintf("10^%.0f", -logP/math.Ln10)
}

func phrase(f Finding) string {
	if f.Text != "" {
		return f.Text
	}
	observed := f.Observed
	if observed >= 1 {
		observed = math.Round(observed) // what is counted comes whole, though a window lets go of it by and by
	}
	return fmt.Sprintf("%s %s in %s", number(observed), strings.ReplaceAll(f.Name, "_", " "), window(f.Scale))
}

func window(s feature.Scale) string {
	return [...]string{"a minute", "10 minutes", "an hour", "a day"}[s]
}

// number is how a person writes it: grouped thousands, two digits that matter below ten.
func number(x float64) string {
	if x < 10 && x != math.Trunc(x) {
		return fmt.Sprintf("%.2g", x)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// query returns the events behind an alert. Ids come from outside and are quoted as ClickHouse quotes strings:
// everything but plain characters is escaped, so that they cannot leave the literal.
func query(a *alert.Alert, where string) string {
	const layout = "2006-01-02 15:04:05.000000"
	whose := ""
	switch a.EntityKind {
	case alert.KindCredential:
		whose = "credential_id = " + quote(a.EntityID)
	case alert.KindSource:
		whose = "source_ip = " + quote(a.EntityID)
	default:
		ids := make([]string, len(a.AgentIDs))
		for i, id := range a.AgentIDs {
			ids[i] = quote(id)
		}
		whose = "agent_id IN (" + strings.Join(ids, ", ") + ")"
	}
	if where != "" {
		where = " AND (" + where + ")"
	}
	return fmt.Sprintf("SELECT * FROM events WHERE %s AND time >= toDateTime64('%s', 6, 'UTC') AND time <= toDateTime64('%s', 6, 'UTC')%s ORDER BY time",
		whose, a.FirstSeen.Format(layout), a.LastSeen.Format(layout), where)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		if c < ' ' || c == '\'' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
